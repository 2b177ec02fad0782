"""Server lists of desktop clients and editors: what can be taken, what is refused, and why.

Such a file is read as data and never run: a command is taken only where it names a package or a program
plainly, and goes behind the walls then. Placeholders are never filled from the environment of whoever imports,
for a file that somebody shared could ask for any variable.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hive.cli.tool_commands import Declined, Started, started_by
from hive.cli.tool_secrets import REFERENCE, looks_secret, secret_in_url, secret_name_of
from hive.core.errors import BadInputError, NotFoundError, TooLargeError
from hive.core.ids import printable
from hive.core.json import Json, decode, depth_exceeds
from hive.web.tools import ToolServerOrder

FILE_MAX_BYTES: Final = 8 << 20
SERVERS_MAX: Final = 100
VALUES_MAX: Final = 100
VALUE_MAX_CHARS: Final = 16 << 10
NAME_MAX_CHARS: Final = 40
CLIENTS: Final[dict[str, tuple[str, ...]]] = {
    "claude": (
        ".mcp.json",
        "~/.config/Claude/claude_desktop_config.json",
        "~/Library/Application Support/Claude/claude_desktop_config.json",
        "~/.claude.json",
    ),
    "vscode": (
        ".vscode/mcp.json",
        "~/.config/Code/User/mcp.json",
        "~/.config/Code/User/settings.json",
        "~/Library/Application Support/Code/User/mcp.json",
    ),
    "cursor": (".cursor/mcp.json", "~/.cursor/mcp.json"),
}
_KNOWN_FIELDS: Final = frozenset(
    {"type", "transport", "command", "args", "env", "url", "serverUrl", "httpUrl", "headers", "disabled", "enabled"}
)  # fmt: skip
_SAID_ELSEWHERE: Final = {
    "autoApprove": "tools are allowed by `hive run --tool` and approvals",
    "alwaysAllow": "tools are allowed by `hive run --tool` and approvals",
    "trust": "tools are allowed by `hive run --tool` and approvals",
    "cwd": "it starts in a folder of its own; name files with --allow-path",
    "envFile": "its file is not read; give values with --env",
    "timeout": "give it with --timeout",
}
_TRANSPORTS: Final = {
    "": "",
    "stdio": "stdio",
    "http": "http",
    "streamable-http": "http",
    "streamableHttp": "http",
    "streamable_http": "http",
    "sse": "sse",
}
_HOME: Final = re.compile(r"\$\{(?:userHome|env:HOME|HOME)\}")
_FOLDER: Final = re.compile(r"\$\{(?:workspaceFolder|CLAUDE_PROJECT_DIR)\}")
_PLACEHOLDER: Final = re.compile(
    r"\$\{(?:(?:env|input):)?([A-Za-z_][A-Za-z0-9_.-]{0,99})(?::-[^{}]*)?\}"
)
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_NOT_GIVEN: Final = ("LD_", "DYLD_", "HIVE_", "PATH", "HOME", "PYTHON", "SSL_CERT", "GCONV_PATH")
_STRING: Final = r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)'
_COMMENT: Final = re.compile(rf"({_STRING})|//[^\n]*|/\*.*?(?:\*/|\Z)", re.DOTALL)
_COMMA: Final = re.compile(rf"({_STRING})|,(?=\s*[\]}}])", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedServer:
    """A server that can be taken over. `missing` are secrets that somebody still has to set."""

    order: ToolServerOrder
    notes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedServer:
    """A server that is not taken over."""

    name: str
    why: str
    fix: str = ""


@dataclass(slots=True, kw_only=True)
class ImportedConfig:
    """What a file holds."""

    file: Path
    taken: list[ImportedServer] = field(default_factory=list)
    refused: list[RefusedServer] = field(default_factory=list)


def config_files(source: str, *, folder: Path, home: Path) -> list[Path]:
    """Return the files that a client's name, or a path, means.

    Raises:
        NotFoundError: there is none.

    """
    if source not in CLIENTS:
        path = folder / Path(source.replace("~", str(home), 1) if source[:2] == "~/" else source)
        if path.is_file():
            return [path]
        known = ", ".join(CLIENTS)
        raise NotFoundError(
            f"There is no file {printable(source)}.",
            fix=f"Name a file, or one of: {known}",
        )
    places = [
        home / place[2:] if place.startswith("~/") else folder / place for place in CLIENTS[source]
    ]
    found = [place for place in places if place.is_file()]
    if not found:
        raise NotFoundError(
            f"No configuration of {source} was found.",
            why=f"Looked at {', '.join(map(str, places))}.",
            fix="hive tool import FILE",
        )
    return found


def read_config(file: Path, *, home: Path, folder: Path) -> ImportedConfig:
    """Read one file.

    Raises:
        BadInputError: it is no JSON with servers in it.
        TooLargeError: it is too large.

    """
    with file.open("rb") as opened:
        data = opened.read(FILE_MAX_BYTES + 1)
    if len(data) > FILE_MAX_BYTES:
        raise TooLargeError(
            f"{printable(str(file))} is too large.", why=f"Over {FILE_MAX_BYTES >> 20} MiB."
        )
    entries = dict(_entries(_parsed(data, file), folder))
    if len(entries) > SERVERS_MAX:
        raise TooLargeError(
            f"{printable(str(file))} names too many servers.",
            why=f"{len(entries)}; {SERVERS_MAX} are allowed.",
        )
    config = ImportedConfig(file=file)
    names: set[str] = set()
    places = _Places(home=home, folder=_project_of(file, folder))
    for label, entry in entries.items():
        name = server_name_of(label)
        found = (
            RefusedServer(name=label, why="Another server of this file has the same name here.")
            if name in names
            else _server(name, label, entry, places)
        )
        if isinstance(found, RefusedServer):
            config.refused.append(found)
        else:
            names.add(name)
            config.taken.append(found)
    return config


def server_name_of(label: str) -> str:
    """Return a name that a server can have here: lower-case letters, digits and dashes."""
    plain = "".join(c if c.isascii() and c.isalnum() else "-" for c in label.lower())
    return re.sub("-+", "-", plain).strip("-")[:NAME_MAX_CHARS].strip("-") or "server"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Places:
    home: Path
    folder: Path


def _project_of(file: Path, folder: Path) -> Path:
    if file.parent.name in (".vscode", ".cursor"):
        return file.parent.parent.resolve()
    return file.parent.resolve() if file.name == ".mcp.json" else folder


def _parsed(data: bytes, file: Path) -> dict[str, Json]:
    if depth_exceeds(data):
        raise BadInputError(f"{printable(str(file))} is nested too deeply.")
    try:
        text = data.decode("utf-8-sig")
        try:
            found = decode(text)
        except ValueError:
            # Editors allow comments and a comma at the end.
            bare = _COMMA.sub(r"\1", _COMMENT.sub(r"\1", text))
            found = decode(bare)
    except ValueError as error:
        raise BadInputError(
            f"{printable(str(file))} is not JSON.", why=str(error), fix="Correct the file."
        ) from error
    if not isinstance(found, dict):
        raise BadInputError(f"{printable(str(file))} holds no object.")
    return found


def _entries(document: Mapping[str, Json], folder: Path) -> Iterator[tuple[str, Json]]:
    """Yield what stands under each of the names that clients use."""
    editor = document.get("mcp")
    projects = document.get("projects")
    project = projects.get(str(folder)) if isinstance(projects, dict) else None
    for part in (document, editor, project):
        if not isinstance(part, dict):
            continue
        for key in ("mcpServers", "servers", "context_servers", "mcp.servers"):
            servers = part.get(key)
            if isinstance(servers, dict):
                yield from servers.items()


def _server(name: str, label: str, entry: Json, places: _Places) -> ImportedServer | RefusedServer:
    if not isinstance(entry, dict):
        return RefusedServer(name=label, why="It is not described by an object.")
    command, url = entry.get("command"), _first_text(entry, "url", "serverUrl", "httpUrl")
    kind = _first_text(entry, "type", "transport")
    wrong = _wrong(entry, command, url, kind)
    if wrong:
        return RefusedServer(name=label, why=wrong)
    notes = [f"called {name} here"] if name != label else []
    notes += [
        f"{printable(key)} is not taken: {_SAID_ELSEWHERE.get(key, 'unknown here')}"
        for key in list(entry)[:VALUES_MAX]
        if key not in _KNOWN_FIELDS
    ]
    values = _values(name, entry, places, notes)
    if isinstance(values, str):
        return RefusedServer(name=label, why=values)
    start: Started | Declined
    if command is None:
        start = _address(url, kind)
    else:
        start = started_by(command, entry.get("args", []), fill=places_filled(places))
    if isinstance(start, Declined):
        return RefusedServer(name=label, why=start.why, fix=start.fix)
    order = _order(name, entry, start, values, places)
    return ImportedServer(order=order, notes=(*notes, *start.notes), missing=tuple(values.missing))


def _wrong(entry: Mapping[str, Json], command: Json, url: str, kind: str) -> str:
    if entry.get("shell"):
        return "It wants a shell."
    if kind not in _TRANSPORTS:
        return f"Its transport {printable(kind)} is not known."
    both = (command is None) == (not url)
    return "It has to have either a command or an address." if both else ""


def _order(
    name: str, entry: Mapping[str, Json], start: Started, values: "_Values", places: _Places
) -> ToolServerOrder:
    return ToolServerOrder(
        name=name,
        transport=start.transport,
        argv=list(start.argv),
        package=start.package,
        url=start.url,
        environment=values.environment,
        headers=values.headers | dict(start.headers),
        secrets=values.secrets,
        folder=str(places.folder),
        paths=list(start.paths),
        enabled=entry.get("disabled") is not True and entry.get("enabled") is not False,
    )


def _address(url: str, kind: str) -> Started | Declined:
    if not url.startswith(("https://", "http://")):
        return Declined(why=f"{printable(url)} is no address of the web.")
    if "${" in url:
        return Declined(why="Its address holds a placeholder.", fix="hive tool add NAME --url URL")
    part = secret_in_url(url)
    if part:
        return Declined(
            why=f"Its address holds a key ({part}), and addresses are shown and recorded.",
            fix="hive tool add NAME --url URL --header 'authorization=secret:NAME'",
        )
    bare = url.partition("?")[0].rstrip("/")
    transport = _TRANSPORTS[kind] or ("sse" if bare.endswith("/sse") else "http")
    return Started(transport="sse" if transport == "sse" else "http", url=url)


@dataclass(slots=True)
class _Values:
    environment: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


def _values(
    name: str, entry: Mapping[str, Json], places: _Places, notes: list[str]
) -> _Values | str:
    """Read variables and headers; a reason where they cannot be used."""
    found = _Values()
    for part, target in (("env", found.environment), ("headers", found.headers)):
        given = entry.get(part) or {}
        if not isinstance(given, dict) or len(given) > VALUES_MAX:
            return f"Its {part} is no object, or a too large one."
        for key, value in given.items():
            if isinstance(value, dict | list | None) or len(str(value)) > VALUE_MAX_CHARS:
                return f"The value of {printable(key)} is no plain text, or too long."
            if part == "env" and not _VARIABLE.fullmatch(key):
                return f"{printable(key)} is no name of a variable."
            if part == "env" and key.upper().startswith(_NOT_GIVEN):
                notes.append(f"{key} is not taken: the walls set it")
                continue
            text = str(value).lower() if isinstance(value, bool) else str(value)
            if REFERENCE in text:
                return f"Its {part} asks for a secret of your vault by name ({printable(key)})."
            target[key] = _kept(name, key, _filled(text, places), found)
    return found


def _kept(name: str, key: str, text: str, found: _Values) -> str:
    """Return how a value is kept: as it is, or as the name of a secret."""
    kept = secret_name_of(name, key)
    if _PLACEHOLDER.search(text):
        found.missing.append(kept)
        return REFERENCE + kept
    if looks_secret(key, text):
        found.secrets[kept] = text
        return REFERENCE + kept
    return text


def _filled(text: str, places: _Places) -> str:
    with_home = _HOME.sub(lambda _: str(places.home), text)
    return _FOLDER.sub(lambda _: str(places.folder), with_home)


def places_filled(places: _Places) -> Mapping[str, str]:
    """Return what may stand for a placeholder in an argument: folders, and nothing else."""
    home, folder = str(places.home), str(places.folder)
    return {
        "${userHome}": home,
        "${HOME}": home,
        "${env:HOME}": home,
        "${workspaceFolder}": folder,
        "${CLAUDE_PROJECT_DIR}": folder,
    }


def _first_text(entry: Mapping[str, Json], *names: str) -> str:
    found = (entry.get(name) for name in names)
    return next((one for one in found if isinstance(one, str)), "")
