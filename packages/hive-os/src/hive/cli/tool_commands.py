"""A command line of a foreign configuration, read as a package or a program, or declined with the reason.

Nothing here is run. What a runner such as npx would fetch and start on the host becomes a package that is built
and started behind the walls; a shell, a container or another user's rights cannot be had.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Final, Literal

from hive.cli.tool_secrets import looks_secret, secret_in_argument, secret_in_url
from hive.core.ids import plain_text, printable
from hive.core.json import Json
from hive.execution.source_files import is_secret

ARGUMENTS_MAX: Final = 100
ARGUMENT_MAX_CHARS: Final = 4096
PATHS_MAX: Final = 20
_PROGRAM: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
_NPM: Final = re.compile(
    r"(?P<name>(?:@[a-z0-9][a-z0-9._~-]{0,99}/)?[a-zA-Z0-9][a-zA-Z0-9._~-]{0,199})"
    r"(?:@(?P<version>[A-Za-z0-9._+-]{1,99}))?"
)
_PYPI: Final = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?)(?P<extras>\[[A-Za-z0-9,._-]{1,99}\])?"
    r"(?:(?:==|@)(?P<version>[A-Za-z0-9.!+_-]{1,99}))?"
)
_OWN: Final = "hive tool add NAME -- /path/of/program ARGUMENTS"
_FLAGS_ALONE: Final = frozenset({"-y", "--yes", "-q", "--quiet", "--silent", "--prefer-offline"})
_NEVER_GIVEN: Final = (
    "/",
    "/etc",
    "/proc",
    "/sys",
    "/dev",
    "/run",
    "/boot",
    "/root",
    "/home",
    "/var",
)
_HIDDEN: Final = frozenset({".config", ".hive"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """What a command line means: a package, a program or an address, and what it must be given."""

    transport: Literal["stdio", "http", "sse"] = "stdio"
    argv: tuple[str, ...] = ()
    package: str = ""
    url: str = ""
    paths: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Declined:
    """Why a command line is not taken, and what to do instead."""

    why: str
    fix: str = ""


_DECLINED: Final = {
    **dict.fromkeys(
        ("docker", "podman", "nerdctl", "container", "docker-compose"),
        Declined(
            why="It starts a container, and Hive gives no server a container engine.",
            fix="Use its npm or PyPI package (--npm, --pypi) or its address (--url).",
        ),
    ),
    **dict.fromkeys(
        ("sudo", "doas", "su", "pkexec", "runuser", "setpriv"),
        Declined(why="It asks for another user's rights.", fix=_OWN),
    ),
    **dict.fromkeys(
        ("sh", "bash", "zsh", "dash", "fish", "ksh", "powershell", "pwsh", "cmd", "env", "xargs"),
        Declined(why="It runs a shell, in which anything could follow.", fix=_OWN),
    ),
}


def started_by(command: Json, arguments: Json, *, fill: Mapping[str, str]) -> Started | Declined:
    """Read a command line; `fill` is what may stand for a placeholder."""
    words = _words(command, arguments)
    if isinstance(words, Declined):
        return words
    words = [_filled(word, fill) for word in words]
    if any("${" in word for word in words):
        return Declined(why="An argument holds a placeholder that only its client knows.", fix=_OWN)
    program, rest = words[0], words[1:]
    if program.lower() in ("cmd", "cmd.exe") and [one.lower() for one in rest[:1]] == ["/c"]:
        program, rest = (rest[1], rest[2:]) if len(rest) > 1 else ("cmd", [])
    for before, argument in zip(("", *rest), rest, strict=False):
        if secret_in_argument(before, argument):
            return Declined(
                why="An argument holds a key, and arguments are shown and recorded.",
                fix="Give it in a variable: hive tool add NAME --env KEY=secret:NAME ...",
            )
    return _read(program, rest)


def _words(command: Json, arguments: Json) -> list[str] | Declined:
    if not isinstance(command, str) or not isinstance(arguments, list):
        return Declined(why="Its command or its arguments are of the wrong kind.")
    if len(arguments) > ARGUMENTS_MAX:
        return Declined(why=f"It has over {ARGUMENTS_MAX} arguments.")
    words = [command]
    for one in arguments:
        if not isinstance(one, str | int | float) or isinstance(one, bool):
            return Declined(why="An argument is no text.")
        words.append(str(one))
    if any(len(one) > ARGUMENT_MAX_CHARS or plain_text(one) != one for one in words):
        return Declined(why="A word of its command is too long or holds hidden characters.")
    return words


def _read(program: str, rest: Sequence[str]) -> Started | Declined:
    kind = PurePosixPath(program).name.removesuffix(".exe").removesuffix(".cmd")
    never = _DECLINED.get(kind)
    if never is not None:
        return never
    if program == kind:
        runner = _RUNNERS.get(kind)
        if runner is not None:
            return runner(list(rest))
        if not _PROGRAM.fullmatch(program):
            return Declined(why=f"{printable(program)} is no plain name of a program.", fix=_OWN)
    elif not program.startswith("/"):
        return Declined(
            why=f"{printable(program)} depends on the folder in which the client runs.",
            fix="Write the whole path: " + _OWN,
        )
    return _program(program, rest)


def _program(program: str, rest: Sequence[str]) -> Started | Declined:
    if ".." in PurePosixPath(program).parts:
        return Declined(why="The path of its program climbs.", fix=_OWN)
    words = [program, *rest] if program.startswith("/") else list(rest)
    given = dict.fromkeys(_projects(words))
    paths, notes = _paths(rest)
    return Started(
        argv=(program, *rest), paths=tuple(dict.fromkeys((*given, *paths))), notes=tuple(notes)
    )


def _npx(rest: list[str]) -> Started | Declined:
    package, words = "", list(rest)
    while words and words[0].startswith("-"):
        flag, sign, value = words.pop(0).partition("=")
        if flag in _FLAGS_ALONE:
            continue
        if flag in ("-p", "--package") and (sign or words):
            package = value or words.pop(0)
            continue
        if flag == "--":
            break
        return Declined(why=f"Its option {printable(flag)} of the runner is not known.", fix=_OWN)
    program = ""
    if package and words:
        program = words.pop(0)
    elif words:
        package = words.pop(0)
    found = _NPM.fullmatch(package)
    if not found or (program and not _PROGRAM.fullmatch(program)):
        return Declined(
            why=f"{printable(package)} is no plain name of an npm package.",
            fix="hive tool add NAME --npm PACKAGE",
        )
    if found["name"] == "mcp-remote":
        return _remote(words)
    return _packaged(f"npm:{package}", program, words)


def _remote(words: list[str]) -> Started | Declined:
    """Read the bridge of clients that know no address: Hive connects by itself."""
    url = next((one for one in words if one.startswith(("https://", "http://"))), "")
    if not url or secret_in_url(url):
        return Declined(
            why="Its address is missing or holds a key.", fix="hive tool add NAME --url"
        )
    headers: dict[str, str] = {}
    for option, value in pairwise(words):
        if option == "--header":
            name, sign, text = value.partition(":")
            if not sign or looks_secret(name, text.strip()):
                return Declined(
                    why="A header in its arguments holds a key.",
                    fix=f"hive tool add NAME --url {url} --header '{printable(name)[1:-1]}=secret:NAME'",
                )
            headers[name.strip()] = text.strip()
    return Started(
        transport="http", url=url, headers=headers, notes=("reached without mcp-remote",)
    )


def _uvx(rest: list[str]) -> Started | Declined:
    words, package = list(rest), ""
    while words and words[0].startswith("-"):
        flag, sign, value = words.pop(0).partition("=")
        if flag in _FLAGS_ALONE:
            continue
        if flag == "--from" and (sign or words):
            package = value or words.pop(0)
            continue
        if flag in ("--python", "-p", "--spec") and (sign or words):
            value = value or words.pop(0)
            package = value if flag == "--spec" else package
            continue
        return Declined(why=f"Its option {printable(flag)} of the runner is not known.", fix=_OWN)
    program = words.pop(0) if words else ""
    found = _PYPI.fullmatch(package or program)
    if not found or (package and not _PROGRAM.fullmatch(program)):
        return Declined(
            why=f"{printable(package or program)} is no plain name of a PyPI package.",
            fix="hive tool add NAME --pypi PACKAGE",
        )
    version = f"=={found['version']}" if found["version"] not in (None, "latest") else ""
    name = f"pypi:{found['name']}{found['extras'] or ''}{version}"
    return _packaged(name, program if package else "", words)


def _packaged(package: str, program: str, rest: Sequence[str]) -> Started:
    paths, notes = _paths(rest)
    return Started(
        argv=(*filter(None, (program,)), *rest),
        package=package,
        paths=tuple(paths),
        notes=tuple(notes),
    )


def _uv(rest: list[str]) -> Started | Declined:
    if rest[:2] == ["tool", "run"]:
        return _uvx(rest[2:])
    return Declined(
        why="It builds and runs a project on the host.",
        fix="Publish it, or start its own interpreter: hive tool add NAME -- /path/.venv/bin/python -m MODULE",
    )


def _npm(rest: list[str]) -> Started | Declined:
    if rest[:1] in (["dlx"], ["exec"], ["x"]):
        return _npx(rest[1:])
    return Declined(why="It runs a script of a project on the host.", fix=_OWN)


def _pipx(rest: list[str]) -> Started | Declined:
    if rest[:1] == ["run"]:
        return _uvx(rest[1:])
    return Declined(why="Only `pipx run PACKAGE` can be taken.", fix=_OWN)


_RUNNERS: Final = {
    "npx": _npx,
    "bunx": _npx,
    "pnpx": _npx,
    "npm": _npm,
    "pnpm": _npm,
    "yarn": _npm,
    "bun": _npm,
    "uvx": _uvx,
    "pipx": _pipx,
    "uv": _uv,
}


def _filled(word: str, fill: Mapping[str, str]) -> str:
    for placeholder, text in fill.items():
        word = word.replace(placeholder, text)
    return word


def _paths(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return which arguments are files and folders to be given for reading, and what is not given."""
    paths: dict[str, None] = {}
    notes = []
    for word in words:
        text = word.partition("=")[2] if word.startswith("-") else word
        if not text.startswith("/") or not Path(text).exists():
            continue
        if _is_private(text):
            notes.append(f"{printable(text)} is not given; name a folder with --allow-path")
        elif len(paths) < PATHS_MAX:
            paths[text] = None
    return list(paths), notes


def _is_private(text: str) -> bool:
    """Tell whether a path is one that a file of somebody else must not open."""
    path = Path(text).resolve()
    if str(path) in _NEVER_GIVEN or path == Path.home() or ":" in text:
        return True
    system = any(path.is_relative_to(place) for place in ("/etc", "/proc", "/sys", "/dev", "/run"))
    return system or any(part in _HIDDEN or is_secret(part) for part in path.parts)


def _projects(words: Sequence[str]) -> Iterator[str]:
    """Yield the folders in which scripts among the words need the rest of their project."""
    for word in words:
        path = Path(word)
        if not word.startswith("/") or not path.is_file() or word.startswith(("/usr/", "/bin/")):
            continue
        marks = ("package.json", "pyproject.toml", "pyvenv.cfg")
        folders = (one for one in path.parents if any((one / mark).is_file() for mark in marks))
        found = next(folders, path.parent)
        if not _is_private(str(found)):
            yield str(found)
