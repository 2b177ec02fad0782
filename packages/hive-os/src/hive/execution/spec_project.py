"""`pyproject.toml` and inline script metadata (PEP 723): requirements, interpreter, `[tool.hive]`.

Read as data, never run. A requirement that the project takes from elsewhere than the index is refused,
because the package of that name on the index may be somebody else's.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from hive.core.errors import SpecError
from hive.core.ids import printable
from hive.execution.spec_file import SpecTable, checked_spec, read_toml

_BLOCK: Final = re.compile(
    r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectTable:
    """What `pyproject.toml` or an inline block adds: requirements, interpreter, `[tool.hive]`."""

    requirements: tuple[str, ...] | None = None
    python: str = ""
    spec: SpecTable | None = None


def parse_pyproject(text: str, *, where: str = "pyproject.toml") -> ProjectTable:
    """Read what a `pyproject.toml` says of requirements and of Hive.

    Raises:
        SpecError: it cannot be read, or a requirement has a source other than the index.

    """
    table = read_toml(text, where)
    project, tool = _table(table, "project"), _table(table, "tool")
    requirements = _texts(project.get("dependencies"), where, "project.dependencies")
    _refuse_sources(_table(_table(tool, "uv"), "sources"), requirements or (), where)
    return ProjectTable(
        requirements=requirements,
        python=_text(project.get("requires-python"), where, "project.requires-python"),
        spec=checked_spec(tool["hive"], text, f"{where}, [tool.hive]") if "hive" in tool else None,
    )


def parse_inline(text: str, *, where: str) -> ProjectTable | None:
    """Read the metadata block `# /// script` of a Python file (None: there is none).

    Raises:
        SpecError: there are two blocks, or the block cannot be used.

    """
    blocks = [
        found for found in _BLOCK.finditer(text.replace("\r\n", "\n")) if found["type"] == "script"
    ]
    if not blocks:
        return None
    if len(blocks) > 1:
        raise SpecError(
            f"{where} has {len(blocks)} script blocks.",
            why="Only one `# /// script` block may stand in a file.",
            fix="Remove the others.",
        )
    lines = blocks[0]["content"].splitlines()
    content = "\n".join(line[2:] if line.startswith("# ") else line[1:] for line in lines)
    table = read_toml(content, f"{where}, script block")
    requirements = _texts(table.get("dependencies"), where, "dependencies") or ()
    tool = _table(table, "tool")
    _refuse_sources(_table(_table(tool, "uv"), "sources"), requirements, where)
    return ProjectTable(
        requirements=requirements,
        python=_text(table.get("requires-python"), where, "requires-python"),
        spec=checked_spec(tool["hive"], content, f"{where}, [tool.hive]")
        if "hive" in tool
        else None,
    )


def _table(parent: Mapping[str, object], key: str) -> dict[str, object]:
    value = parent.get(key)
    return {str(one): item for one, item in value.items()} if isinstance(value, dict) else {}


def _texts(value: object, where: str, field: str) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise SpecError(f"{where}: {field} is no list of texts.", fix="Correct it.")
    return tuple(value)


def _text(value: object, where: str, field: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise SpecError(f"{where}: {field} is no text.", fix="Correct it.")
    return value


def _refuse_sources(
    sources: Mapping[str, object], requirements: tuple[str, ...], where: str
) -> None:
    """Refuse a requirement that the project takes from elsewhere: its name on the index may be a trap."""
    elsewhere = {re.sub(r"[-_.]+", "-", name).lower() for name in sources}
    for requirement in requirements:
        name = re.sub(r"[-_.]+", "-", re.split(r"[^A-Za-z0-9._-]", requirement.strip())[0]).lower()
        if name in elsewhere:
            raise SpecError(
                f"{where}: the requirement {printable(name)} has a source of its own.",
                why="[tool.uv.sources] takes it from elsewhere; a package of that name on the index "
                "may be somebody else's.",
                fix="Put a wheel of it into the folder and require `./it.whl`.",
            )
