"""From what a user typed to an agent spec: find the source, read what it says of itself, run nothing.

`./path.py:attr`, `./path.py`, a folder, `https://host/`, `mcp:SERVER`, or a command. Only files are read here; what an
attribute *is* finds the guest out, behind the walls.
"""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from hive.core.call import sha256_hex
from hive.core.errors import SpecError
from hive.core.grant import Tier
from hive.core.ids import NAME_MAX_CHARS, AgentId, agent_id, plain_text, printable
from hive.core.json import encode
from hive.core.spec import AgentSpec, EntryPoint, StartKind
from hive.execution import spec_file, spec_project
from hive.execution.source_files import (
    FILE_MAX_BYTES,
    Visible,
    protected_folder,
    visible_files,
    visible_named,
)
from hive.execution.source_server import find_server, names_server
from hive.execution.spec_file import SpecTable
from hive.execution.spec_project import ProjectTable
from hive.execution.spec_requirements import checked_requirement, read_requirements

CARD_PATH: Final = "/.well-known/agent-card.json"
MAIN_FILES: Final = ("agent.py", "main.py", "app.py", "__main__.py")
COMPONENT_SUFFIX: Final = ".wasm"
SCRIPT_MAX_BYTES: Final = 4 << 20
ARGUMENTS_MAX: Final = 200
_ATTRIBUTE: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_PLAIN_NAMES: Final = frozenset(
    {"", "agent", "app", "main", "run", "graph", "root_agent", "crew", "handle", "__main__"}
)
_FORMS: Final = "Known forms: ./path.py:attribute, ./agent.wasm, a folder, https://host/, mcp:SERVER, or -- COMMAND ARGUMENTS."


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundSource:
    """A source as it was read: the spec it leads to, and the files that the agent will see."""

    spec: AgentSpec
    visible: Visible | None = None

    @property
    def left_out(self) -> tuple[str, ...]:
        """Return the files that the agent will not see, each with the reason."""
        return self.visible.left_out if self.visible else ()


def find_source(text: str, *, cwd: Path, home: Path, name: str = "") -> FoundSource:
    """Find what a user named; `name` wins over the name that is derived.

    Raises:
        SpecError: there is no such source, or it cannot be used.
        TooLargeError: its folder is too large.

    """
    if names_server(text):
        spec, visible = find_server(text, name_given=name)
        return FoundSource(spec=spec, visible=visible)
    scheme = re.match(r"([a-z][a-z0-9+.-]*)://", text)
    if scheme:
        return _remote(text, name, SpecTable(), folder=cwd, home=home)
    path, attribute = _split(text, cwd)
    found = Path(path).expanduser() if not path.startswith("~") else home / path[2:]
    found = cwd / found
    folder = (found if found.is_dir() else found.parent).resolve()
    if found.is_dir():
        return _folder(folder, attribute, home=home, name=name)
    if not found.exists():
        raise _missing(path, found)
    return _file(folder, found.name, attribute, home=home, name=name)


def find_command(
    argv: Sequence[str], *, cwd: Path, home: Path, name: str = "", serves_a2a: bool = False
) -> FoundSource:
    """Take a command in the current folder as an agent: by standard input and output, or by A2A.

    Raises:
        SpecError: there is no command, or the folder cannot be used.

    """
    if not argv or not argv[0] or len(argv) > ARGUMENTS_MAX or any("\0" in one for one in argv):
        raise SpecError(
            "There is no command to run.",
            why=f"A command has 1 to {ARGUMENTS_MAX} words.",
            fix="Write it after two dashes: `hive run -- node agent.js`.",
        )
    folder = cwd.resolve()
    # A folder that may not be seen as a whole still gives the files that the command names.
    named = [one for one in argv if "/" not in one.removeprefix("./") and (folder / one).is_file()]
    named = [one.removeprefix("./") for one in named]
    whole = not protected_folder(folder, home)
    visible = _all_visible(folder) if whole else visible_named(folder, named)
    table, requirements, python = _said(visible, script="") if whole else (SpecTable(), (), "")
    entry = EntryPoint(
        kind=StartKind.A2A_COMMAND if serves_a2a or table.serves_a2a else StartKind.COMMAND,
        source=str(folder),
        argv=tuple(argv),
    )
    script = next((one for one in named if "." in one), Path(argv[0]).name)
    derived = table.name or script.rpartition("/")[2].partition(".")[0]
    return _found(entry, table, visible, requirements, python, name=name or derived, home=home)


def _remote(url: str, name: str, table: SpecTable, *, folder: Path, home: Path) -> FoundSource:
    """Take the address of an agent or its card; what it needs is to reach that one host."""
    parts = urlsplit(url)
    local = parts.hostname in ("127.0.0.1", "::1", "localhost")
    good = parts.scheme == "https" or (parts.scheme == "http" and local)
    if not good or not parts.hostname or parts.username or parts.password or plain_text(url) != url:
        raise SpecError(
            f"{printable(parts.scheme + '://' + (parts.hostname or ''))} cannot be a remote agent.",
            why="A remote agent is an https URL (http only on this machine) without a user or password.",
            fix="Give the address of the agent or of its card.",
        )
    if parts.hostname == "localhost":  # an inner address is reached where it is named, never a name
        parts = parts._replace(netloc=f"127.0.0.1:{parts.port or 80}")
    path = parts.path if parts.path.endswith(".json") else parts.path.rstrip("/") + CARD_PATH
    card = parts._replace(path=path, query="", fragment="").geturl()
    host = f"[{parts.hostname}]" if ":" in str(parts.hostname) else str(parts.hostname)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    needs = spec_file.needs_of(table, folder=folder, home=home)
    own = spec_file.host_rule(f"{host}:{port}")
    entry = EntryPoint(kind=StartKind.REMOTE, url=card)
    spec = AgentSpec(
        name=_valid_name(name or host.strip("[]").replace(".", "-"), given=bool(name)),
        entry=entry,
        description=plain_text(table.description, keep="\n"),
        version=plain_text(table.version)[:64],
        needs=replace(needs, hosts=tuple(dict.fromkeys((own, *needs.hosts))), models=()),
        skills=spec_file.skills_of(table),
        public=table.public,
        digest=sha256_hex(encode(entry)),
    )
    return FoundSource(spec=spec)


def _split(text: str, cwd: Path) -> tuple[str, str]:
    path, colon, attribute = text.rpartition(":")
    if not text or plain_text(text) != text:
        raise SpecError("No source is named.", why=_FORMS, fix="Name one.")
    if not colon or (cwd / text).exists():
        return text, ""
    if not _ATTRIBUTE.fullmatch(attribute):
        raise SpecError(
            f"{printable(attribute)} is no name in a Python file.",
            why="After the colon stands an attribute such as `agent` or `team.planner`.",
            fix=_FORMS,
        )
    return path, attribute


def _missing(path: str, found: Path) -> SpecError:
    near: list[str] = []
    if found.parent.is_dir():
        names = sorted(
            one.name for one in list(found.parent.iterdir())[:1000] if one.suffix == ".py"
        )
        near = difflib.get_close_matches(found.name, names, n=3, cutoff=0.5)
    return SpecError(
        f"{printable(path)} does not exist.",
        why=f"Looked in {found.parent}." if found.parent.is_dir() else _FORMS,
        fix=f"Did you mean {' or '.join(near)}?" if near else "Check the path.",
    )


def _folder(folder: Path, attribute: str, *, home: Path, name: str) -> FoundSource:
    reason = protected_folder(folder, home)
    if reason:
        raise SpecError(
            f"{folder} cannot be an agent's folder.",
            why=f"The agent would read all of it, and {reason}.",
            fix="Move the agent into a folder of its own, or name its file: `hive run ./agent.py`.",
        )
    visible = _all_visible(folder)
    table, requirements, python = _said(visible, script="")
    if table.command or table.url:
        return _declared(table, visible, requirements, python, home=home, name=name)
    path, colon, declared = table.entry.partition(":")
    if path:
        path = spec_file.relative_path(path, where="entry")
    else:
        path = next((one for one in MAIN_FILES if one in visible.paths), "")
    if not path:
        raise SpecError(
            f"{folder} does not say where its agent is.",
            why=f"It has no {spec_file.FILE_NAME} with an entry, and none of {', '.join(MAIN_FILES)}.",
            fix=f"Name the file (`hive run {folder.name}/FILE.py:ATTRIBUTE`).",
        )
    if path.endswith(COMPONENT_SUFFIX) and not (attribute or declared):
        return _component(folder, path, home=home, name=name)
    _check_visible(path, visible)
    if colon and not _ATTRIBUTE.fullmatch(declared):
        raise SpecError(
            f"entry: {printable(declared)} is no name in a Python file.", fix="Correct the entry."
        )
    table, requirements, python = _said(visible, script=path)
    entry = _python_entry(folder, path, attribute or declared)
    derived = name or table.name or _derived(folder, path, attribute)
    return _found(entry, table, visible, requirements, python, name=derived, home=home)


def _file(folder: Path, file: str, attribute: str, *, home: Path, name: str) -> FoundSource:
    if file.endswith(COMPONENT_SUFFIX):
        return _component(folder, file, home=home, name=name)
    if not file.endswith(".py"):
        raise SpecError(
            f"{printable(file)} is no Python file.",
            why="Other languages are run as a command that reads standard input.",
            fix=f"For example `hive run -- ./{file}`, or `hive run -- node {file}`.",
        )
    whole = not protected_folder(folder, home)
    visible = _all_visible(folder) if whole else visible_named(folder, [file])
    _check_visible(file, visible)
    table, requirements, python = _said(visible, script=file)
    path, _, declared = table.entry.partition(":")
    same = path == file or not (table.entry or table.command or table.url)
    entry = _python_entry(folder, file, attribute or (declared if path == file else ""))
    own = table.name if same and not attribute else ""
    derived = name or own or _derived(folder, file, attribute)
    return _found(entry, table, visible, requirements, python, name=derived, home=home)


def _component(folder: Path, file: str, *, home: Path, name: str) -> FoundSource:
    """Take a WebAssembly component; it sees no file, so nothing beside it but its table is read."""
    beside = [spec_file.FILE_NAME] if (folder / spec_file.FILE_NAME).is_file() else []
    visible = visible_named(folder, [file, *beside])
    _check_visible(file, visible)
    table = _table(visible, None, None)
    entry = EntryPoint(kind=StartKind.COMPONENT, source=str(folder), path=file)
    own = table.name if table.entry in ("", file) else ""
    derived = name or own or _derived(folder, file, "")
    return _found(entry, table, visible, (), "", name=derived, home=home)


def _declared(
    table: SpecTable,
    visible: Visible,
    requirements: tuple[str, ...],
    python: str,
    *,
    home: Path,
    name: str,
) -> FoundSource:
    """Follow a `hive-agent.toml` that names a command or a remote agent."""
    chosen = name or table.name or Path(visible.folder).name
    if table.url:
        return _remote(table.url, chosen, table, folder=Path(visible.folder), home=home)
    entry = EntryPoint(
        kind=StartKind.A2A_COMMAND if table.serves_a2a else StartKind.COMMAND,
        source=visible.folder,
        argv=table.command,
    )
    return _found(entry, table, visible, requirements, python, name=chosen, home=home)


def _said(visible: Visible, *, script: str) -> tuple[SpecTable, tuple[str, ...], str]:
    """Return what the folder says of the agent: its table, its requirements, its interpreter.

    Requirements come from one place only: the script's own block, else `hive-agent.toml`, else
    `pyproject.toml`, else `requirements.txt`.
    """
    paths = visible.paths
    inline = project = None
    if script and paths[script].size_bytes <= SCRIPT_MAX_BYTES:
        text = visible.read_text(script, limit_bytes=FILE_MAX_BYTES)
        inline = spec_project.parse_inline(text, where=script)
    if "pyproject.toml" in paths:
        project = spec_project.parse_pyproject(_spec_text(visible, "pyproject.toml"))
    table = _table(visible, inline, project)
    python = (
        table.python or (inline.python if inline else "") or (project.python if project else "")
    )
    return table, _requirements(visible, table, inline, project), python


def _table(
    visible: Visible, inline: ProjectTable | None, project: ProjectTable | None
) -> SpecTable:
    if inline and inline.spec:
        return inline.spec
    if spec_file.FILE_NAME in visible.paths:
        return spec_file.parse_spec(_spec_text(visible, spec_file.FILE_NAME))
    return (project.spec if project else None) or SpecTable()


def _requirements(
    visible: Visible, table: SpecTable, inline: ProjectTable | None, project: ProjectTable | None
) -> tuple[str, ...]:
    places = (
        ("the script block", inline.requirements if inline else None),
        (spec_file.FILE_NAME, table.requirements),
        ("pyproject.toml", project.requirements if project else None),
    )
    for where, lines in places:
        if lines is not None:
            return tuple(
                checked_requirement(line, where=where, visible=visible.paths) for line in lines
            )
    if "requirements.txt" not in visible.paths:
        return ()
    return read_requirements(
        "requirements.txt", lambda path: _spec_text(visible, path), visible.paths
    )


def _spec_text(visible: Visible, path: str) -> str:
    return visible.read_text(path, limit_bytes=spec_file.SPEC_MAX_BYTES)


def _all_visible(folder: Path) -> Visible:
    """List the folder; what its `hive-agent.toml` excludes is left out before it is counted."""
    exclude: tuple[str, ...] = ()
    own = (
        visible_named(folder, [spec_file.FILE_NAME])
        if (folder / spec_file.FILE_NAME).is_file()
        else None
    )
    if own and own.files:
        exclude = spec_file.parse_spec(_spec_text(own, spec_file.FILE_NAME)).exclude
    return visible_files(folder, exclude=exclude)


def _check_visible(path: str, visible: Visible) -> None:
    if path in visible.paths:
        return
    reason = next(
        (one for one in visible.left_out if one.startswith(f"{path} (")), "it does not exist"
    )
    raise SpecError(
        f"{printable(path)} cannot be the agent's file.",
        why=f"In {visible.folder}: {reason}.",
        fix="Name a plain file of the folder.",
    )


def _python_entry(folder: Path, path: str, attribute: str) -> EntryPoint:
    return EntryPoint(kind=StartKind.PYTHON, source=str(folder), path=path, attribute=attribute)


def _derived(folder: Path, path: str, attribute: str) -> str:
    last = attribute.rpartition(".")[2]
    stem = Path(path).stem
    if last not in _PLAIN_NAMES:
        return last
    return stem if stem not in _PLAIN_NAMES else folder.name


def _valid_name(text: str, *, given: bool) -> AgentId:
    if given:
        return agent_id(text)
    tidy = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:NAME_MAX_CHARS].strip("-")
    return agent_id(tidy or "agent")


def _found(
    entry: EntryPoint,
    table: SpecTable,
    visible: Visible,
    requirements: tuple[str, ...],
    python: str,
    *,
    name: str,
    home: Path,
) -> FoundSource:
    spec = AgentSpec(
        name=_valid_name(name, given=name == table.name),
        entry=entry,
        description=plain_text(table.description, keep="\n"),
        version=plain_text(table.version)[:64],
        needs=spec_file.needs_of(table, folder=Path(visible.folder), home=home),
        requirements=requirements,
        allow_build=table.allow_build,
        python=python,
        environment=spec_file.environment_of(table),
        skills=spec_file.skills_of(table),
        public=table.public,
        digest=visible.digest,
        tier_min=Tier[table.tier.upper()],
    )
    return FoundSource(spec=spec, visible=visible)
