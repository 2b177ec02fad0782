"""What an agent's own environment is made of: requirement lines, read and narrowed.

A requirement names a package of the operator's index, or a file below the agent's own folder. Everything
that would send the builder elsewhere (another index, a repository, a URL) is refused with its reason,
because the source is a stranger's and the index is the operator's choice.
"""

import posixpath
import re
from collections.abc import Callable, Mapping
from typing import Final

from hive.core.errors import SpecError, TooLargeError
from hive.core.ids import printable

LINES_MAX: Final = 1000
LINE_MAX_CHARS: Final = 32_768
NESTING_MAX: Final = 5
CONSTRAINT: Final = "-c "
"""How a constraint is written among the requirements of a spec: `-c NAME<2`."""

_PACKAGE: Final = re.compile(
    r"""
    (?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*
    (?:\[[A-Za-z0-9._,\s-]*\])?\s*
    (?P<versions>\(?\s*(?:(?:===|==|~=|!=|<=|>=|<|>)\s*[A-Za-z0-9.*+!_-]+\s*,?\s*)*\)?)\s*
    (?:;[^@\\]*)?
    """,
    re.VERBOSE,
)
_HASH: Final = re.compile(r"\s--hash[= ](sha(?:256|384|512):[0-9a-f]{64,128})(?=\s|$)")
_LOCAL: Final = re.compile(r"(?:\./|file:)?[^\s:;\\]+(?:/|\.whl|\.tar\.gz|\.zip)")
_IGNORED: Final = ("--require-hashes", "--prefer-binary", "--only-binary")
_ELSEWHERE: Final = {
    "-i": "another index",
    "--index-url": "another index",
    "--extra-index-url": "another index",
    "-f": "another place of packages",
    "--find-links": "another place of packages",
    "--trusted-host": "an index without a checked certificate",
    "-e": "an editable install",
    "--editable": "an editable install",
    "--no-binary": "a build from source",
    "--pre": "versions that are not released",
}
_NAME_END: Final = re.compile(r"[-_.]+")


def package_name(requirement: str) -> str:
    """Return the normalised name at the start of a requirement, "" for a file."""
    found = _PACKAGE.match(requirement.removeprefix(CONSTRAINT))
    return _NAME_END.sub("-", found["name"]).lower() if found else ""


def checked_requirement(line: str, *, where: str, visible: Mapping[str, object]) -> str:
    """Return one requirement, tidied; `visible` are the paths of the agent's folder.

    Raises:
        SpecError: it names a URL, a repository, or a file that is not in the folder.

    """
    text = " ".join(line.split())
    hashes = _HASH.findall(" " + text)
    text = _HASH.sub("", " " + text).strip()
    if _PACKAGE.fullmatch(text):
        return " ".join((text, *(f"--hash={one}" for one in hashes)))
    if "://" not in text and " @ " not in text and _LOCAL.fullmatch(text):
        local = _local(text, where=where, visible=visible)
        return " ".join((local, *(f"--hash={one}" for one in hashes)))
    reason = "It is not `NAME[EXTRAS] VERSIONS ; MARKER`."
    if text.startswith("-"):
        return _refuse_option(text, where)
    if re.search(r"\b(git|hg|svn|bzr)\+|@|://", text):
        reason = (
            "It would fetch from a URL or repository; only the operator's package index is used."
        )
    raise SpecError(
        f"{where}: the requirement {printable(text)} cannot be used.",
        why=reason,
        fix="Name a released package, or put a wheel into the agent's folder and write `./it.whl`.",
    )


def _refuse_option(text: str, where: str) -> str:
    option = re.split(r"[= ]", text, maxsplit=1)[0]
    meaning = _ELSEWHERE.get(option, "an option that Hive does not know")
    raise SpecError(
        f"{where}: {printable(option)} cannot be used.",
        why=f"It asks for {meaning}; where packages come from is the operator's choice.",
        fix="Remove the line. The operator names an index with HIVE_INDEX_URL.",
    )


def _local(text: str, *, where: str, visible: Mapping[str, object]) -> str:
    path = posixpath.normpath(text.removeprefix("file:"))
    inside = not path.startswith(("/", "..")) and "\\" not in path
    if inside and (path in visible or any(name.startswith(path + "/") for name in visible)):
        return "./" + path
    raise SpecError(
        f"{where}: the requirement {printable(text)} is no file of the agent's folder.",
        why="A requirement may name a wheel or a project inside the folder, nothing outside it.",
        fix="Copy it into the folder and write `./NAME`.",
    )


class _Reader:
    """Follows a requirements file and what it includes, below one folder."""

    def __init__(self, read: Callable[[str], str], visible: Mapping[str, object]) -> None:
        self._read = read
        self._visible = visible
        self._seen: set[tuple[str, bool]] = set()
        self.found: list[str] = []

    def follow(self, path: str, *, constraints: bool, depth: int) -> None:
        if (path, constraints) in self._seen:
            return
        self._seen.add((path, constraints))
        if depth > NESTING_MAX:
            raise SpecError(
                f"{path} is included too deeply.",
                why=f"Requirements files may include each other {NESTING_MAX} levels deep.",
                fix="Write the requirements into one file.",
            )
        folder = posixpath.dirname(path)
        for number, line in enumerate(logical_lines(self._read(path)), start=1):
            where = f"{path}, requirement {number}"
            option, _, rest = line.partition(" ") if " " in line else line.partition("=")
            if option in ("-r", "--requirement", "-c", "--constraint"):
                nested = self._nested(folder, rest.strip(" ="), where)
                only = constraints or option in ("-c", "--constraint")
                self.follow(nested, constraints=only, depth=depth + 1)
            elif not line.startswith(_IGNORED):
                self._keep(line, where, constraints=constraints)

    def _nested(self, folder: str, name: str, where: str) -> str:
        path = posixpath.normpath(posixpath.join(folder, name))
        if path in self._visible:
            return path
        raise SpecError(
            f"{where}: it includes {printable(name)}, which is no file of the agent's folder.",
            why="A requirements file may include only files below its own folder.",
            fix="Copy the file into the folder, or remove the line.",
        )

    def _keep(self, line: str, where: str, *, constraints: bool) -> None:
        one = checked_requirement(line, where=where, visible=self._visible)
        self.found.append(CONSTRAINT + one if constraints else one)
        if len(self.found) > LINES_MAX:
            raise TooLargeError(
                "The agent has too many requirements.",
                why=f"At most {LINES_MAX} lines are read.",
                fix="Leave out what its direct requirements bring along anyway.",
            )


def read_requirements(
    path: str, read: Callable[[str], str], visible: Mapping[str, object]
) -> tuple[str, ...]:
    """Read a requirements file; `read` gives the text of a visible file.

    Raises:
        SpecError: a line cannot be used; the message names the file and the line.

    """
    reader = _Reader(read, visible)
    reader.follow(path, constraints=False, depth=0)
    return tuple(reader.found)


def logical_lines(text: str) -> list[str]:
    """Return the lines of a requirements file: continued ones joined, without comments and empty ones.

    Raises:
        TooLargeError: one is too long.

    """
    joined = re.sub(r"\\\r?\n", " ", text.removeprefix("\ufeff"))
    lines = []
    for raw in joined.splitlines():
        line = re.sub(r"(^|\s)#.*$", "", raw).strip()
        if len(line) > LINE_MAX_CHARS:
            raise TooLargeError(
                "A requirement is too long.",
                why=f"A line may have {LINE_MAX_CHARS} characters.",
                fix="Correct the requirements file.",
            )
        if line:
            lines.append(line)
    return lines
