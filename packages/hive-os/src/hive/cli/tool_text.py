"""How servers, tools, schemas, differences and results of calls look as text.

Names, descriptions and results are a stranger's text: each line passes `one_line` or loses what could drive a
terminal.
"""

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from hive.cli.render import one_line, state, table
from hive.cli.session import fact, paint
from hive.core.ids import plain_text
from hive.core.json import Json
from hive.web.tools import ToolLine, ToolReport, ToolServerLine, ToolServerReport

ABOUT_MAX_CHARS: Final = 70
DIFF_LINES_MAX: Final = 400
SCHEMA_LINES_MAX: Final = 200
SCHEMA_DEPTH_MAX: Final = 6
_PIN_COLOR: Final = {"pinned": "green", "flagged": "yellow", "changed": "red", "shadowing": "red"}


def pin_word(pin: str) -> str:
    """Return the state of a definition in its color."""
    return paint(pin, _PIN_COLOR[pin]) if pin in _PIN_COLOR else pin


def server_rows(servers: Sequence[ToolServerLine]) -> Iterator[str]:
    """Yield `hive tool list`."""
    rows = (
        (
            one.name,
            one.state,
            str(one.tools),
            str(one.blocked) if one.blocked else "-",
            one.transport,
            one.revision or "-",
            one_line(one.reason or one.place, 80),
        )
        for one in servers
    )
    heads = ("SERVER", "STATE", "TOOLS", "BLOCKED", "BY", "REVISION", "FROM")
    return table(heads, rows)


def tool_rows(tools: Sequence[ToolLine]) -> Iterator[str]:
    """Yield tools, those that may not be used with the reason."""
    rows = (
        (
            one_line(one.name, 80),
            one.pin,
            one.effect,
            one_line("; ".join(one.flags) if one.flags and not one.usable else about(one), 80),
        )
        for one in tools
    )
    return table(("TOOL", "PIN", "EFFECT", "ABOUT"), rows)


def about(tool: ToolLine) -> str:
    """Return the first words of what a tool says of itself."""
    said = tool.description.strip().partition("\n")[0]
    return one_line(said or tool.title, ABOUT_MAX_CHARS)


def server_lines(report: ToolServerReport) -> Iterator[str]:
    """Yield `hive tool show SERVER`."""
    line = report.line
    title = one_line(" ".join(filter(None, (report.title, line.version))), 80)
    yield f"{line.name}   {state(line.state)}   {title}".rstrip()
    if line.reason:
        yield fact("reason", one_line(line.reason))
    yield fact("from", one_line(line.place))
    revision = f", revision {line.revision}" if line.revision else ""
    yield fact("by", f"{line.transport}, shared per {line.sharing}{revision}")
    if report.offers:
        yield fact("offers", one_line(", ".join(report.offers)))
    for place, grant in enumerate(report.grant or ["nothing"]):
        yield fact("granted" if place == 0 else "", one_line(grant))
    for label, values in (("variable", report.environment), ("header", report.headers)):
        for name, value in values.items():
            yield fact(label, f"{one_line(name, 60)} = {one_line(value, 60)}")
    yield fact("limits", f"{report.timeout_s:g} s a call, {report.result_max_bytes >> 10} KiB")
    if report.instructions:
        yield fact("says", one_line(report.instructions, 200))
    if report.tools:
        yield ""
        yield from tool_rows(report.tools)


def tool_lines(report: ToolReport) -> Iterator[str]:
    """Yield `hive tool show TOOL`."""
    line = report.line
    yield f"{one_line(line.name, 120)}   {pin_word(line.pin)}   {line.effect}"
    for paragraph in plain_text(line.description, keep="\n").splitlines()[:40]:
        yield f"  {paragraph}".rstrip()
    for flag in line.flags:
        yield fact("flag", one_line(flag))
    yield ""
    yield from _schema_part("takes", report.definition.get("inputSchema"))
    if report.definition.get("outputSchema"):
        yield from _schema_part("gives", report.definition.get("outputSchema"))
    hints = report.definition.get("annotations")
    if isinstance(hints, dict) and hints:
        said = ", ".join(f"{key}={value}" for key, value in hints.items())
        yield fact("hints", one_line(f"{said}  (the server says)"))
    yield fact("digest", report.digest)
    if report.approved_by:
        yield fact(
            "approved", one_line(f"by {report.approved_by} {report.approved_digest}".rstrip())
        )
    for use in report.used or ():
        times = "time" if use.calls == 1 else "times"
        said = f"{one_line(use.who, 60)}, {use.calls} {times}, last {use.last_at:%F %H:%M}"
        yield fact("used", said)
    if report.used is None:
        yield fact("used", "not told: the record is too long to be searched in passing")
    elif not report.used:
        yield fact("used", "by nobody yet")


def schema_lines(schema: Json, *, depth: int = 0) -> Iterator[str]:
    """Yield a JSON schema's fields as people read them."""
    if not isinstance(schema, dict):
        return
    fields = schema.get("properties")
    needed = schema.get("required")
    required = set(map(str, needed)) if isinstance(needed, list) else set()
    for name, part in (fields if isinstance(fields, dict) else {}).items():
        one = part if isinstance(part, dict) else {}
        must = "" if name in required else ", optional"
        said = one_line(str(one.get("description", "")), 100)
        label = f"{'  ' * depth}{one_line(name, 60)}"
        yield f"{label:<22} {_type_of(one)}{must}{'   ' + said if said else ''}".rstrip()
        if depth < SCHEMA_DEPTH_MAX:
            inner = one.get("items") if one.get("type") == "array" else one
            yield from schema_lines(inner, depth=depth + 1)


def difference(before: Mapping[str, Json], after: Mapping[str, Json]) -> Iterator[str]:
    """Yield how a definition changed, line by line; hidden characters stand there by their numbers."""
    old, new = (_canonical(one).splitlines() for one in (before, after))
    lines = list(difflib.unified_diff(old, new, "approved", "now", lineterm="", n=2))
    for line in lines[:DIFF_LINES_MAX]:
        color = {"+": "green", "-": "red"}.get(line[:1])
        yield paint(line, color) if color else line
    if len(lines) > DIFF_LINES_MAX:
        yield f"… {len(lines) - DIFF_LINES_MAX} more lines: hive tool show NAME --json"


def _canonical(definition: Mapping[str, Json]) -> str:
    # ASCII only: a character that nobody sees is seen by its number.
    return json.dumps(definition, indent=2, sort_keys=True, ensure_ascii=True)


def _schema_part(label: str, schema: Json) -> Iterator[str]:
    lines = [line for line, _ in zip(schema_lines(schema), range(SCHEMA_LINES_MAX), strict=False)]
    for place, line in enumerate(lines or ["nothing" if label == "takes" else "anything"]):
        yield fact(label if place == 0 else "", line)


def _type_of(schema: Mapping[str, Json]) -> str:
    choices = schema.get("enum")
    if isinstance(choices, list):
        return one_line(" | ".join(json.dumps(one) for one in choices[:12]), 100)
    kind = schema.get("type")
    if isinstance(kind, list):
        return one_line(" | ".join(map(str, kind)), 60)
    if kind == "array":
        items = schema.get("items")
        return f"array of {_type_of(items) if isinstance(items, dict) else 'anything'}"
    for key in ("anyOf", "oneOf", "allOf"):
        parts = schema.get(key)
        if isinstance(parts, list):
            words = (_type_of(one) for one in parts[:8] if isinstance(one, dict))
            return one_line(" | ".join(words), 100)
    return one_line(str(kind or schema.get("$ref") or "anything"), 60)
