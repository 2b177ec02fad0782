"""`hive-agent.toml`: what a source says of itself.

All of it is a stranger's request and none of it a permission. Unknown fields are refused, so that a typing
error in a need never becomes a silent default; paths may not climb out of the folder.
"""

import posixpath
import re
import stat
import tomllib
from pathlib import Path
from typing import Final, Literal

import msgspec

from hive.core.errors import InvalidIdError, SpecError
from hive.core.grant import Access, Grant, HostRule, Limits, PathRule
from hive.core.ids import agent_id, plain_text, printable
from hive.core.spec import AgentSkill
from hive.execution.spec_rules import needs_rules

FILE_NAME: Final = "hive-agent.toml"
SPEC_MAX_BYTES: Final = 256 << 10
LIST_MAX: Final = 100
TEXT_MAX_CHARS: Final = 2000

_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_HOST: Final = re.compile(
    r"(\*\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
)
_ADDRESS: Final = re.compile(r"[0-9.]+|\[[0-9a-f:.]+\]")
_NAME: Final = re.compile(r"\*|[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}")
_TOOL: Final = re.compile(
    r"[a-z0-9][a-z0-9_-]{0,62}(?:\.(?:\*|[A-Za-z0-9_][A-Za-z0-9._:/-]{0,127}))?"
)
_RESERVED_VARIABLES: Final = ("HIVE_", "LD_", "PYTHON", "GCONV_PATH", "PATH", "HOME", "SSL_CERT")
_KERNEL_FOLDERS: Final = ("/proc", "/sys", "/dev")
_KERNEL_PLACES: Final = (*_KERNEL_FOLDERS, "/run")
_SYSTEM_PLACES: Final = ("/etc", "/usr", "/lib", "/lib64", "/bin", "/sbin")


class PathTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A path that is asked for: a host path, where it appears inside, `ro` or `rw`."""

    host: str
    inside: str = ""
    access: Access = Access.READ


class NeedsTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[needs]`: everything beyond the agent's own folder. Asked for, never given by itself.

    `[[needs.tool]]` and `[[needs.host]]` name one with conditions on its arguments; see `needs_rules`.
    """

    paths: tuple[str | PathTable, ...] = ()
    hosts: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    models: tuple[str, ...] = ("*",)
    agents: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    tiers: tuple[Literal["process", "gvisor", "microvm"], ...] = ()
    tool: tuple[dict[str, str | bool | dict[str, str]], ...] = ()
    host: tuple[dict[str, str | bool | dict[str, str]], ...] = ()
    gpu: bool = False
    packages: bool = False


class SkillTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[[skills]]`: one entry of the agent's card."""

    id: str
    name: str
    description: str
    tags: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()


class LimitsTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[limits]`: bytes, seconds and counts; what is left out keeps the node's own value."""

    memory_bytes: int | None = None
    processes_max: int | None = None
    files_max: int | None = None
    disk_bytes: int | None = None
    cpu_s: int | None = None
    turn_timeout_s: float | None = None
    model_calls_max: int | None = None
    sandboxes_max: int | None = None
    queue_max: int | None = None


class SpecTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole of `hive-agent.toml`; exactly one of `entry`, `command` and `url` starts the agent."""

    name: str = ""
    description: str = ""
    version: str = "0.0.0"
    entry: str = ""
    command: tuple[str, ...] = ()
    serves_a2a: bool = False
    url: str = ""
    python: str = ""
    requirements: tuple[str, ...] | None = None
    allow_build: bool = False
    public: bool = False
    tier: Literal["wasm", "process", "gvisor", "microvm"] = "wasm"
    exclude: tuple[str, ...] = ()
    needs: NeedsTable = msgspec.field(default_factory=NeedsTable)
    limits: LimitsTable = msgspec.field(default_factory=LimitsTable)
    environment: dict[str, str] = msgspec.field(default_factory=dict)
    skills: tuple[SkillTable, ...] = ()


def parse_spec(text: str, *, where: str = FILE_NAME) -> SpecTable:
    """Read `hive-agent.toml`.

    Raises:
        SpecError: it is no TOML, has an unknown field, or a value that cannot be used.

    """
    return checked_spec(read_toml(text, where), text, where)


def needs_of(table: SpecTable, *, folder: Path, home: Path) -> Grant:
    """Turn `[needs]` and `[limits]` into the grant that is asked for.

    Host paths are resolved now, so that the person who confirms them sees where they really lead.

    Raises:
        SpecError: a path, host or name cannot be used.

    """
    needs = table.needs
    given = {
        key: value
        for key, value in msgspec.structs.asdict(table.limits).items()
        if value is not None
    }
    for key, value in given.items():
        if value <= 0:
            raise SpecError(f"{FILE_NAME}: limits.{key} must be above zero.", fix="Correct it.")
    ruled_tools, tool_rules = needs_rules("tool", needs.tool, tool_name)
    ruled_hosts, host_rules = needs_rules("host", needs.host, lambda text: host_rule(text).host)
    return Grant(
        paths=tuple(_path_rule(one, folder, home) for one in needs.paths),
        hosts=tuple(dict.fromkeys(host_rule(text) for text in (*needs.hosts, *ruled_hosts))),
        programs=_names(needs.programs, "needs.programs"),
        models=_names(needs.models, "needs.models"),
        agents=tuple(one if one == "*" else _agent(one) for one in needs.agents),
        tools=tuple(dict.fromkeys(tool_name(one) for one in (*needs.tools, *ruled_tools))),
        tiers=tuple(dict.fromkeys(needs.tiers)),
        gpu=needs.gpu,
        packages=needs.packages,
        limits=Limits(**given),
        rules=tuple(sorted((*tool_rules, *host_rules))),
    )


def host_rule(text: str) -> HostRule:
    """Read `HOST`, `HOST:PORT` or `HOST:PORT,PORT`; without a port 443 is meant.

    Raises:
        SpecError: it is no host name, or a port is none.

    """
    address = _ADDRESS.match(text)
    host, _, ports = (
        text.rpartition(":") if ":" in text and not text.endswith("]") else (text, "", "")
    )
    host = host.lower().rstrip(".")
    numbers = [int(port) if port.isascii() and port.isdigit() else 0 for port in ports.split(",")]
    good = host == "*" or (
        len(host) <= 253 and (_HOST.fullmatch(host) or (address and _ADDRESS.fullmatch(host)))
    )
    if not good or (ports and not all(0 < number < 65536 for number in numbers)):
        raise SpecError(
            f"needs.hosts: {printable(text)} is no host.",
            why="A host is `api.example.org`, `api.example.org:8443`, `*.example.org` or an address.",
            fix="Write the name without a scheme and a path.",
        )
    return HostRule(host=host, ports=tuple(numbers) if ports else (443,))


def tool_name(text: str) -> str:
    """Read `SERVER.TOOL`, `SERVER.*`, `SERVER` (which means all of it) or `*`.

    Raises:
        SpecError: it is none of these.

    """
    if text != "*" and not _TOOL.fullmatch(text):
        raise SpecError(
            f"needs.tools: {printable(text)} is no tool.",
            why="A tool is `server.tool`; `server` means all tools of one, `*` all there are.",
            fix="See `hive tool list --tools`.",
        )
    return text if "." in text or text == "*" else f"{text}.*"


def relative_path(text: str, *, where: str) -> str:
    """Return a path that stays below its folder.

    Raises:
        SpecError: it is absolute, climbs, or holds a control character.

    """
    path = posixpath.normpath(text)
    bad = not text or path.startswith(("/", "../")) or path in ("..", ".") or "\\" in text
    if bad or ".." in text.split("/") or plain_text(text) != text:
        raise SpecError(
            f"{where}: {printable(text)} is no path inside the agent's folder.",
            why="A path is relative, without `..`.",
            fix="Write it as seen from the folder, for example `agent.py`.",
        )
    return path


def skills_of(table: SpecTable) -> tuple[AgentSkill, ...]:
    """Return the skills for the agent's card, without control characters."""
    return tuple(
        AgentSkill(
            id=_clean(skill.id, 128),
            name=_clean(skill.name, 200),
            description=_clean(skill.description, TEXT_MAX_CHARS),
            tags=tuple(_clean(tag, 100) for tag in skill.tags[:LIST_MAX]),
            examples=tuple(
                _clean(example, TEXT_MAX_CHARS) for example in skill.examples[:LIST_MAX]
            ),
        )
        for skill in table.skills
    )


def environment_of(table: SpecTable) -> dict[str, str]:
    """Return the plain variables that the agent asks for.

    Raises:
        SpecError: a name is none, or is one that Hive or the loader of programs reads.

    """
    for key, value in table.environment.items():
        if (
            not _VARIABLE.fullmatch(key)
            or key.upper().startswith(_RESERVED_VARIABLES)
            or "\0" in value
        ):
            raise SpecError(
                f"{FILE_NAME}: the variable {printable(key)} cannot be set.",
                why="It is no variable's name, or one that Hive or the system itself reads.",
                fix="Choose another name.",
            )
    return dict(table.environment)


def read_toml(text: str, where: str) -> dict[str, object]:
    """Read TOML.

    Raises:
        SpecError: it is none.

    """
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SpecError(f"{where} is not TOML.", why=str(error), fix="Correct the file.") from None


def checked_spec(table: object, text: str, where: str) -> SpecTable:
    """Turn a table into a spec; `text` is where it stood, to name the line of an error.

    Raises:
        SpecError: it has an unknown field or a value that cannot be used.

    """
    try:
        spec = msgspec.convert(table, SpecTable)
    except msgspec.ValidationError as error:
        raise SpecError(
            f"{where} cannot be used.", why=_located(str(error), text), fix=_KNOWN
        ) from None
    ways = [name for name in ("entry", "command", "url") if getattr(spec, name)]
    long = [name for name in msgspec.structs.asdict(spec) if _too_long(getattr(spec, name))]
    if len(ways) > 1 or long:
        why = (
            f"{' and '.join(ways)} exclude each other."
            if len(ways) > 1
            else f"{long[0]} is too long."
        )
        raise SpecError(
            f"{where} cannot be used.", why=why, fix="Keep one of them, and keep it short."
        )
    return spec


_KNOWN: Final = "Known fields: " + ", ".join(SpecTable.__struct_fields__) + "."


def _too_long(value: object) -> bool:
    if isinstance(value, str):
        return len(value) > TEXT_MAX_CHARS
    if isinstance(value, tuple | dict):
        return len(value) > 10 * LIST_MAX
    return isinstance(value, NeedsTable) and any(
        isinstance(one, tuple) and len(one) > LIST_MAX
        for one in msgspec.structs.asdict(value).values()
    )


def _located(message: str, text: str) -> str:
    """Add the line that a validation error is about, where it can be found."""
    fields = re.findall(r"unknown field `([^`]+)`", message)
    fields += [part.split("[")[0] for part in re.findall(r"\$\.([^`]+)", message)]
    for field in fields:
        last = field.rpartition(".")[2]
        found = re.search(
            rf"(?m)^\s*\[{{0,2}}(?:[\w.]*\.)?[\"']?{re.escape(last)}[\"']?\s*[=\]]", text
        )
        if found:
            line = text.count("\n", 0, found.end()) + 1
            return f"Line {line}: {plain_text(message)}."
    return f"{plain_text(message)}."


def _path_rule(asked: str | PathTable, folder: Path, home: Path) -> PathRule:
    one = PathTable(host=asked) if isinstance(asked, str) else asked
    if plain_text(one.host) != one.host or not one.host:
        raise SpecError(f"needs.paths: {printable(one.host)} is no path.", fix="Correct it.")
    text = one.host
    host = home / text[2:] if text.startswith("~/") else folder / text
    resolved = _resolved(host)
    inside = one.inside or str(resolved)
    normal = posixpath.normpath(inside)
    # A system file may appear where it is on the host, but nothing else may take its place.
    taken = _KERNEL_PLACES + (_SYSTEM_PLACES if normal != str(resolved) else ())
    reserved = any(normal == place or normal.startswith(place + "/") for place in taken)
    if not inside.startswith("/") or ".." in inside.split("/") or normal == "/" or reserved:
        raise SpecError(
            f"needs.paths: nothing can appear at {printable(inside)} inside the sandbox.",
            why="It is no absolute path, or a place of the system's own.",
            fix='Choose a place such as inside = "/data".',
        )
    return PathRule(host=str(resolved), inside=normal, access=one.access)


def _resolved(host: Path) -> Path:
    """Return where a path really leads; never to a device, a socket or a place of the kernel."""
    try:
        resolved = host.resolve()
        mode = resolved.stat().st_mode if resolved.exists() else stat.S_IFDIR
    except (OSError, RuntimeError):
        resolved, mode = host, 0
    of_kernel = any(resolved.is_relative_to(place) for place in _KERNEL_FOLDERS)
    if of_kernel or not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        raise SpecError(
            f"needs.paths: {printable(str(host))} cannot be given to an agent.",
            why="Only plain files and folders can, and nothing of the kernel's own.",
            fix="Name a folder with the agent's data.",
        )
    return resolved


def _names(names: tuple[str, ...], field: str) -> tuple[str, ...]:
    for one in names:
        if not _NAME.fullmatch(one):
            raise SpecError(f"{field}: {printable(one)} is no name.", fix="Correct it.")
    return names


def _agent(text: str) -> str:
    try:
        return agent_id(text)
    except InvalidIdError as error:
        raise SpecError(f"needs.agents: {error.what}", why=error.why, fix=error.fix) from None


def _clean(text: str, limit_chars: int) -> str:
    return plain_text(text, keep="\n")[:limit_chars]
