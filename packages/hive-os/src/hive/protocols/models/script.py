"""Rules for a model that is none: the same question always gets the same answer.

    [[rules]]
    match = 'weather in (\\w+)'          # a regular expression, searched in the last message
    tool = { name = "weather", arguments = { city = '\\1' } }

    [[rules]]
    match = 'weather everywhere'
    tools = [ { name = "weather", arguments = { city = 'Oslo' } }, { name = "weather" } ]

    [[rules]]
    on = "tool"                          # the last message is a tool's result
    turn = 2                             # and the model has answered once before
    reply = 'It says: \\g<0>'
    delay_ms = 50                        # before every word of a stream

The first rule that fits wins; without one the answer is `scripted answer to: ...`, or the smallest JSON that
fits the schema where one is demanded.
"""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import msgspec

from hive.core.errors import ConfigError
from hive.core.json import Json, decode, encode
from hive.protocols.models.ports import ModelRequest
from hive.protocols.models.script_heard import Heard, heard
from hive.protocols.models.script_schema import smallest

SEARCHED_MAX_CHARS: Final = 20_000
ECHO_MAX_CHARS: Final = 2000
DELAY_MAX_S: Final = 60.0
RULES_MAX: Final = 1000
TOOLS_MAX: Final = 100
SPLIT: Final = re.compile(r"\S+\s*|\s+")


class ToolUse(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tool that the model asks for; text in `arguments` may name groups of the match."""

    name: str
    arguments: dict[str, object] = {}


class ScriptedError(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A failure that the model answers with; `after_words` lets a stream begin before it breaks."""

    status: int = 500
    message: str = "a scripted failure"
    after_words: int = 0


class ScriptRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rule: when (`match`, `system`, `model`: regular expressions; `on`; `turn`) and what then."""

    match: str = ""
    on: Literal["user", "tool"] = "user"
    system: str = ""
    model: str = ""
    turn: int | None = None
    reply: str | None = None
    tool: ToolUse | None = None
    tools: tuple[ToolUse, ...] | None = None
    error: ScriptedError | None = None
    delay_s: float = 0.0
    delay_ms: float = 0.0


class ScriptFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file of rules; `models` are the names that `/v1/models` lists."""

    rules: tuple[ScriptRule, ...] = ()
    models: tuple[str, ...] = ("scripted",)


class ScriptedReply(msgspec.Struct, frozen=True, kw_only=True):
    """What the rules decided: a text, tools, or an error."""

    text: str = ""
    tools: tuple[ToolUse, ...] = ()
    error: ScriptedError | None = None
    delay_s: float = 0.0
    delay_ms: float = 0.0


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
    except (OSError, ValueError, RecursionError, re.error) as error:
        raise ConfigError(
            "The rules of the scripted model cannot be used.",
            why=f"{path}: {error}",
            fix="Correct the file that HIVE_MODELS names, or use `scripted:` alone.",
        ) from error
    return script


def _check_rule(rule: ScriptRule) -> None:
    for pattern in (rule.match, rule.system, rule.model):
        re.compile(pattern)
    if sum(part is not None for part in (rule.reply, rule.tool, rule.tools, rule.error)) != 1:
        message = "a rule needs exactly one of reply, tool, tools and error"
        raise ValueError(message)
    if not 0 <= rule.delay_s <= DELAY_MAX_S or not 0 <= rule.delay_ms <= DELAY_MAX_S * 1000:
        message = f"delay_s or delay_ms is outside 0 to {DELAY_MAX_S} seconds"
        raise ValueError(message)
    if rule.tools is not None and not 0 < len(rule.tools) <= TOOLS_MAX:
        message = f"tools needs 1 to {TOOLS_MAX} entries"
        raise ValueError(message)


def decide(
    script: ScriptFile, request: ModelRequest, schema: Mapping[str, Json] | None = None
) -> ScriptedReply:
    """Return what the first fitting rule says; without one what fits `schema`, or the echo."""
    said = heard(request)
    for rule in script.rules[:RULES_MAX]:
        found = _fits(rule, said, request.model)
        if found is None:
            continue
        asked = rule.tools or (() if rule.tool is None else (rule.tool,))
        return ScriptedReply(
            text="" if rule.reply is None else found.expand(rule.reply),
            tools=tuple(_fill(tool, found) for tool in asked),
            error=rule.error,
            delay_s=rule.delay_s,
            delay_ms=rule.delay_ms,
        )
    if schema is not None:
        return ScriptedReply(text=encode(smallest(dict(schema))).decode())
    seen = f" ({said.media} files)" if said.media else ""
    return ScriptedReply(text=f"scripted answer to: {said.text[:ECHO_MAX_CHARS]}{seen}")


def _fits(rule: ScriptRule, said: Heard, model: str) -> "re.Match[str] | None":
    if (rule.on == "tool") is not said.from_tool or rule.turn not in (None, said.turn):
        return None
    if not re.search(rule.system, said.system[:SEARCHED_MAX_CHARS]):
        return None
    if not re.search(rule.model, model):
        return None
    return re.search(rule.match, said.text[:SEARCHED_MAX_CHARS], re.IGNORECASE)


def _fill(tool: ToolUse, found: "re.Match[str]") -> ToolUse:
    return ToolUse(
        name=tool.name,
        arguments={
            key: found.expand(value) if isinstance(value, str) else value
            for key, value in tool.arguments.items()
        },
    )
