"""The policies of a node: files in its state folder, each read whole before it replaces another."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hive.core.errors import BadInputError, ConfigError, NotFoundError, PolicyError
from hive.core.ids import printable
from hive.core.kernel_rules import KernelRule
from hive.security.kernel_policy.outcome import ReadPolicy
from hive.security.kernel_policy.reader import FILE_MAX_BYTES, as_table, read_documents, refuse
from hive.security.kernel_policy.tetragon import API_VERSION, KIND, read_tracing_policy

SUFFIX: Final = ".yaml"
FILES_MAX: Final = 100
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptPolicy:
    """A policy and the file that it stands in."""

    file: str
    policy: ReadPolicy


def read_policies(data: bytes) -> tuple[ReadPolicy, ...]:
    """Return the policies of a file.

    Raises:
        PolicyError: it holds something that is outside what the kernel's guard enforces; it names what and where.

    """
    found: list[ReadPolicy] = []
    for number, value in enumerate(read_documents(data), start=1):
        document = as_table(value, f"document {number}")
        version, kind = document.needed("apiVersion"), document.needed("kind")
        if version != API_VERSION or kind != KIND:
            refuse(
                f"{printable(version[:60])} {printable(kind[:60])} is outside what Hive enforces",
                document.at("kind"),
                fix=f"Use {API_VERSION} {KIND}.",
            )
        policy = read_tracing_policy(document)
        if policy.name in {one.name for one in found}:
            refuse(f"the policy {policy.name} stands there twice", document.line, fix="Rename one.")
        found.append(policy)
    if not found:
        refuse("it holds no policy", 1, fix=f"Write a {KIND}.")
    return tuple(found)


class KernelPolicies:
    """The files of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, tuple[ReadPolicy, ...]] = {}

    def load(self) -> None:
        """Read the folder.

        Raises:
            ConfigError: a file cannot be read: less than what was ordered must not stand.

        """
        found = {}
        for path in sorted(self._folder.glob("*" + SUFFIX)):
            try:
                found[path.stem] = read_policies(read_bounded(path))
            except (OSError, PolicyError) as error:
                why = error.why if isinstance(error, PolicyError) else str(error)
                raise ConfigError(
                    f"The kernel's policy {path.name} cannot be read.",
                    why=why,
                    fix=f"Correct {path}, or remove it.",
                ) from error
        self._files = found

    def put(self, name: str, data: bytes) -> tuple[ReadPolicy, ...]:
        """Keep a file under a name; one of that name is replaced. It is on disk before it counts.

        Raises:
            PolicyError: it cannot be enforced as it is written.
            BadInputError: the name cannot be one, or there are too many.

        """
        if not _NAME.fullmatch(name):
            raise BadInputError(
                f"{printable(name[:80])!r} cannot be the name of a policy file.",
                fix="Use small letters, digits, dots, - and _.",
            )
        if name not in self._files and len(self._files) >= FILES_MAX:
            raise BadInputError(f"There are {FILES_MAX} policy files already.", fix="Remove one.")
        read = read_policies(data)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        path = self._folder / (name + SUFFIX)
        coming = path.with_suffix(".coming")
        with coming.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        coming.replace(path)
        self._files[name] = read
        return read

    def drop(self, name: str) -> tuple[ReadPolicy, ...]:
        """Remove a file. Raises NotFoundError."""
        if name not in self._files:
            raise NotFoundError(
                f"There is no policy file {printable(name[:80])!r}.", fix="hive enforce status"
            )
        (self._folder / (name + SUFFIX)).unlink(missing_ok=True)
        return self._files.pop(name)

    def all(self) -> tuple[KeptPolicy, ...]:
        """Return every policy."""
        return tuple(
            KeptPolicy(file=file, policy=one) for file, held in self._files.items() for one in held
        )

    def rules_of(self, agent: str) -> tuple[KernelRule, ...]:
        """Return what the policies refuse an agent."""
        return tuple(
            rule
            for kept in self.all()
            if kept.policy.agents.covers(agent)
            for rule in kept.policy.kernel
        )


def read_bounded(path: Path) -> bytes:
    """Return a file's bytes, one more than may be at most. Raises OSError."""
    with path.open("rb") as stream:
        return stream.read(FILE_MAX_BYTES + 1)
