"""The name of a package that holds a tool server: `npm:NAME@VERSION` or `pypi:NAME==VERSION`.

A name of PyPI may be followed by requirements for what it needs, with a space between: an old server wants
an old library (`pypi:mcp-server-sqlite==2025.4.25 mcp<2`).

A stranger's text: what is no plain name with at most one exact version never reaches a package client,
which would take a URL, a folder or an option from it.
"""

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from hive.core.errors import SpecError
from hive.core.ids import printable
from hive.execution.spec_requirements import checked_requirement

NAME_MAX_CHARS: Final = 214
BESIDE_MAX: Final = 16
_NPM: Final = re.compile(
    r"(?P<name>(?:@[a-z0-9~-][a-z0-9._~-]*/)?[a-zA-Z0-9~-][a-zA-Z0-9._~-]*)(?:@(?P<version>.+))?"
)
_PYPI: Final = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)"
    r"(?P<extras>\[[A-Za-z0-9._-]+(?:,[A-Za-z0-9._-]+)*\])?(?:==(?P<version>.+))?"
)
_NPM_VERSION: Final = re.compile(r"\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?")
_PYPI_VERSION: Final = re.compile(r"[0-9][0-9A-Za-z.!+_-]*")
_NPM_TAG: Final = re.compile(r"[a-z][a-z0-9-]*")


class PackageKind(StrEnum):
    """Which registry has a package."""

    NPM = "npm"
    PYPI = "pypi"


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageRef:
    """A package, and its version where one is pinned; `tag` is npm's word for a moving one.

    `beside` are requirements for what it needs.
    """

    kind: PackageKind
    name: str
    version: str = ""
    extras: str = ""
    tag: str = ""
    beside: tuple[str, ...] = ()

    @property
    def requirement(self) -> str:
        """Return it in the words of its client."""
        if self.kind is PackageKind.NPM:
            version = self.version or self.tag
            return f"{self.name}@{version}" if version else self.name
        return f"{self.name}{self.extras}" + (f"=={self.version}" if self.version else "")

    def pinned(self, version: str) -> "PackageRef":
        """Return it at one version."""
        return replace(self, version=version, tag="")

    def __str__(self) -> str:
        return " ".join((f"{self.kind}:{self.requirement}", *self.beside))


def read_package(text: str) -> PackageRef:
    """Read the name of a package.

    Raises:
        SpecError: it is none.

    """
    head, *beside = text.split(" ")
    kind, _, rest = head.partition(":")
    found: re.Match[str] | None = None
    if len(rest) <= NAME_MAX_CHARS and (kind == PackageKind.PYPI or not beside):
        found = {"npm": _NPM, "pypi": _PYPI}.get(kind, _NOTHING).fullmatch(rest)
    version = found["version"] or "" if found else ""
    if found and kind == PackageKind.NPM and _NPM_TAG.fullmatch(version):
        return PackageRef(kind=PackageKind.NPM, name=found["name"], tag=version)
    exact = _NPM_VERSION if kind == PackageKind.NPM else _PYPI_VERSION
    if not found or (version and not exact.fullmatch(version)):
        raise SpecError(
            f"{printable(text[:NAME_MAX_CHARS])} is no package of a tool server.",
            why="It reads npm:NAME, npm:NAME@1.2.3, pypi:NAME or pypi:NAME==1.2.3.",
            fix="Name the package and one exact version; no range, no URL and no folder.",
        )
    extras = found["extras"] or "" if kind == PackageKind.PYPI else ""
    if len(beside) > BESIDE_MAX:
        raise SpecError(f"The package {printable(head)} names more than {BESIDE_MAX} requirements.")
    return PackageRef(
        kind=PackageKind(kind),
        name=found["name"],
        version=version,
        extras=extras,
        beside=tuple(
            checked_requirement(one, where="the package", visible={}) for one in beside if one
        ),
    )


_NOTHING: Final = re.compile(r"(?!)")
