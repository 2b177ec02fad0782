"""Rules for a model that is none: the same question always gets the same answer.

    [[rules]]
    match = 'weather in (\\w+)'          # a regular expression, searched in the last message
    tool = { name = "weather", arguments = { city = '\\1' } }

    [[rules]]
    on = "tool"                          # the last message is a tool's result
    reply = 'It says: \\g<0>'

The first rule that fits wins; without one the answer is `scripted answer to: ...`.
"""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import msgspec

from hive.core.errors import ConfigError
from hive.core.json import Json, decode, encode
from hive.protocols.models.ports import Dialect, ModelRequest

SEARCHED_MAX_CHARS: Final = 20_000
ECHO_MAX_CHARS: Final = 2000
DELAY_MAX_S: Final = 60.0
RULES_MAX: Final = 1000
SPLIT: Final = re.compile(r"\S+\s*|\s+")


class ToolUse(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tool that the model asks for; text in `arguments` may name groups of the match."""

    name: str
    arguments: dict[str, object] = {}


class ScriptedError(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A failure that the model answers with."""

    status: int = 500
    message: str = "a scripted failure"


class ScriptRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rule: when (`match`, `on`, `system`, `model`: regular expressions) and what then."""

    match: str = ""
    on: Literal["user", "tool"] = "user"
    system: str = ""
    model: str = ""
    reply: str | None = None
    tool: ToolUse | None = None
    error: ScriptedError | None = None
    delay_s: float = 0.0


class ScriptFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file of rules; `models` are the names that `/v1/models` lists."""

    rules: tuple[ScriptRule, ...] = ()
    models: tuple[str, ...] = ("scripted",)


class ScriptedReply(msgspec.Struct, frozen=True, kw_only=True):
    """What the rules decided: a text, a tool, or an error."""

    text: str = ""
    tool: ToolUse | None = None
    error: ScriptedError | None = None
    delay_s: float = 0.0


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """What a conversation says last, in whichever dialect it came."""

    text: str
    from_tool: bool
    system: str


def load_script(path: str) -> ScriptFile:
    """Read a file of rules, TOML or JSON; no path gives no rules.

    Raises:
        ConfigError: it cannot be read, or a rule cannot be used.

    """
    if not path:
        return ScriptFile()
    try:
        data = Path(path).read_bytes()
        plain = decode(data) if path.endswith(".json") else tomllib.loads(data.decode())
        script = msgspec.convert(plain, ScriptFile)
        for rule in script.rules[:RULES_MAX]:
            _check_rule(rule)
    except (OSError, ValueError, re.error) as error:
        raise ConfigError(
            "The rules of the scripted model cannot be used.",
            why=f"{path}: {error}",
            fix="Correct the file that HIVE_MODELS names, or use `scripted:` alone.",
        ) from error
    return script


def _check_rule(rule: ScriptRule) -> None:
    for pattern in (rule.match, rule.system, rule.model):
        re.compile(pattern)
    if sum(part is not None for part in (rule.reply, rule.tool, rule.error)) != 1:
        message = "a rule needs exactly one of reply, tool and error"
        raise ValueError(message)
    if not 0 <= rule.delay_s <= DELAY_MAX_S:
        message = f"delay_s is outside 0 to {DELAY_MAX_S}"
        raise ValueError(message)


def decide(script: ScriptFile, request: ModelRequest) -> ScriptedReply:
    """Return what the first fitting rule says, or the echo."""
    said = heard(request)
    text = said.text[:SEARCHED_MAX_CHARS]
    for rule in script.rules[:RULES_MAX]:
        if (rule.on == "tool") is not said.from_tool:
            continue
        if not re.search(rule.system, said.system[:SEARCHED_MAX_CHARS]):
            continue
        found = re.search(rule.match, text, re.IGNORECASE)
        if found is None or not re.search(rule.model, request.model):
            continue
        return ScriptedReply(
            text="" if rule.reply is None else found.expand(rule.reply),
            tool=None if rule.tool is None else _fill(rule.tool, found),
            error=rule.error,
            delay_s=rule.delay_s,
        )
    return ScriptedReply(text=f"scripted answer to: {said.text[:ECHO_MAX_CHARS]}")


def _fill(tool: ToolUse, found: "re.Match[str]") -> ToolUse:
    return ToolUse(
        name=tool.name,
        arguments={
            key: found.expand(value) if isinstance(value, str) else value
            for key, value in tool.arguments.items()
        },
    )


def heard(request: ModelRequest) -> Heard:
    """Return what a request says last, and its system prompt."""
    document = request.document
    if request.dialect is Dialect.RESPONSES:
        items, system = document.get("input"), document.get("instructions")
        if isinstance(items, str):
            return Heard(text=items, from_tool=False, system=_text(system))
    else:
        items, system = document.get("messages"), document.get("system")
    entries = [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
    prompts = [
        _text(entry.get("content"))
        for entry in entries
        if entry.get("role") in ("system", "developer")
    ]
    for entry in reversed(entries):
        found = _entry(entry)
        if found is not None:
            return Heard(
                text=found[0], from_tool=found[1], system="\n".join([_text(system), *prompts])
            )
    return Heard(text="", from_tool=False, system=_text(system))


def _entry(entry: Mapping[str, Json]) -> tuple[str, bool] | None:
    if entry.get("type") == "function_call_output":
        return _text(entry.get("output")), True
    role, content = entry.get("role"), entry.get("content")
    if role == "tool":
        return _text(content), True
    if role != "user":
        return None
    blocks = content if isinstance(content, list) else []
    results = [
        _text(block.get("content"))
        for block in blocks
        if isinstance(block, dict) and block.get("type") == "tool_result"
    ]
    return ("\n".join(results), True) if results else (_text(content), False)


def _text(content: Json) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = [_text(part.get("text")) for part in content if isinstance(part, dict)]
        return "\n".join(part for part in parts if part)
    return "" if content is None else encode(content).decode()
