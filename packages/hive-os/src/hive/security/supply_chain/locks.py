"""What a package's lock files pin: names, versions and hashes of what will be installed.

Read as data, nothing is run: `uv.lock`, `pylock.toml`, `requirements.txt` (its `==` lines with their hashes) and
`package-lock.json`. Other lock files are hashed, and not read.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from hive.core.errors import SupplyError
from hive.core.json import Json
from hive.security.supply_chain.strict_json import decode_strict

LOCK_NAMES: Final = (
    "uv.lock",
    "pylock.toml",
    "poetry.lock",
    "pdm.lock",
    "Pipfile.lock",
    "requirements.txt",
    "package-lock.json",
    "pnpm-lock.yaml",
    "yarn.lock",
)
LOCK_MAX_BYTES: Final = 16 << 20
PINS_MAX: Final = 20_000
_PIN: Final = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*==\s*(?P<version>[A-Za-z0-9][^\s;,\\]*)"
)
_HASH: Final = re.compile(r"sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class PinnedPart:
    """One package that a lock pins; `ecosystem` is `pypi` or `npm`, `hashes` are SHA-256 of its files."""

    ecosystem: str
    name: str
    version: str
    hashes: tuple[str, ...] = ()

    @property
    def purl(self) -> str:
        """Return the package URL without qualifiers."""
        name = self.name.replace("@", "%40", 1) if self.name.startswith("@") else self.name
        return f"pkg:{self.ecosystem}/{name}@{self.version}"


def lock_hashes(locks: Mapping[str, bytes]) -> dict[str, str]:
    """Return the SHA-256 of each lock file."""
    return {path: sha256(data).hexdigest() for path, data in sorted(locks.items())}


def pinned_parts(
    locks: Mapping[str, bytes], requirements: tuple[str, ...] = ()
) -> list[PinnedPart]:
    """Return everything that the locks, and requirements that name one version, pin; each once.

    Raises:
        SupplyError: a lock cannot be read, or pins too much.

    """
    found: dict[tuple[str, str, str], PinnedPart] = {}
    for part in _all_parts(locks, requirements):
        key = (part.ecosystem, part.name, part.version)
        before = found.get(key)
        hashes = (*(before.hashes if before else ()), *part.hashes)
        found[key] = PinnedPart(
            ecosystem=part.ecosystem,
            name=part.name,
            version=part.version,
            hashes=tuple(sorted(set(hashes))),
        )
        if len(found) > PINS_MAX:
            raise SupplyError(
                "The lock files pin too much.",
                why=f"More than {PINS_MAX} packages.",
                fix="Split it.",
            )
    return sorted(found.values())


def _all_parts(locks: Mapping[str, bytes], requirements: tuple[str, ...]) -> Iterator[PinnedPart]:
    yield from _requirement_parts("\n".join(requirements))
    for path, data in sorted(locks.items()):
        name = path.rpartition("/")[2]
        try:
            if name == "requirements.txt":
                yield from _requirement_parts(data.decode("utf-8"))
            elif name in ("uv.lock", "poetry.lock", "pdm.lock"):
                yield from _toml_parts(tomllib.loads(data.decode("utf-8")), "package")
            elif name == "pylock.toml":
                yield from _toml_parts(tomllib.loads(data.decode("utf-8")), "packages")
            elif name == "package-lock.json":
                yield from _npm_parts(decode_strict(data, what=path))
        except (ValueError, RecursionError) as error:
            raise SupplyError(
                f"The lock file {path} cannot be read.", why=str(error)[:200], fix="Make it anew."
            ) from error


def _requirement_parts(text: str) -> Iterator[PinnedPart]:
    for line in text.replace("\\\n", " ").splitlines():
        pinned = _PIN.match(line.strip())
        if pinned:
            yield PinnedPart(
                ecosystem="pypi",
                name=plain_name(pinned["name"]),
                version=pinned["version"],
                hashes=tuple(_HASH.findall(line)),
            )


def _toml_parts(document: dict[str, object], table: str) -> Iterator[PinnedPart]:
    packages = document.get(table)
    for one in packages if isinstance(packages, list) else ():
        match one:
            case {"source": {"virtual": _} | {"editable": _}}:
                continue  # the agent itself
            case {"name": str(name), "version": str(version)}:
                yield PinnedPart(
                    ecosystem="pypi",
                    name=plain_name(name),
                    version=version,
                    hashes=tuple(_HASH.findall(_flat_text(one))),
                )


def _flat_text(value: object) -> str:
    if isinstance(value, dict):
        # pylock.toml writes hashes = {sha256 = "..."}: the algorithm is the key.
        return " ".join(
            f"sha256:{inner}" if key == "sha256" else _flat_text(inner)
            for key, inner in value.items()
            if key != "dependencies"
        )
    if isinstance(value, list):
        return " ".join(map(_flat_text, value))
    return value if isinstance(value, str) else ""


def _npm_parts(document: Json) -> Iterator[PinnedPart]:
    packages = document.get("packages") if isinstance(document, dict) else None
    for path, one in (packages if isinstance(packages, dict) else {}).items():
        name = path.rpartition("node_modules/")[2]
        if name and isinstance(one, dict) and isinstance(version := one.get("version"), str):
            yield PinnedPart(ecosystem="npm", name=name, version=version)


def plain_name(name: str) -> str:
    """Return a package's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
