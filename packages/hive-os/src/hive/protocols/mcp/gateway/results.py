"""What is answered: results of tools as they may be passed on, and refusals in plain words for a model."""

from collections.abc import Mapping
from typing import Final

from hive.core.call import Refused
from hive.core.ids import plain_text
from hive.core.json import Json, encode
from hive.protocols.mcp.gateway.catalog import ToolEntry
from hive.protocols.mcp.ports import NEWEST, McpError, McpObject
from hive.protocols.mcp.validation import Validators

CHECK_KEY: Final = "hive/check"
APPROVAL_KEY: Final = "hive/approval"
INVALID_PARAMS: Final = -32602
INTERNAL: Final = -32603
TEXT_MAX_CHARS: Final = 4000
INPUT_REQUIRED: Final = "input_required"
_OF_THE_NEWEST: Final = frozenset({"resultType", "ttlMs", "cacheScope"})


def said(text: str, *, meta: Mapping[str, Json] | None = None) -> McpObject:
    """Write a result that says why there is no other."""
    shown: Json = {"type": "text", "text": plain_text(text[:TEXT_MAX_CHARS], keep="\n")}
    result: McpObject = {"content": [shown], "isError": True}
    if meta:
        result["_meta"] = dict(meta)
    return result


def refused(no: Refused) -> McpObject:
    """Write a refusal for whoever called, with what the answer means to a program."""
    meta: dict[str, Json] = {CHECK_KEY: no.check}
    if no.approval:
        meta[APPROVAL_KEY] = no.approval
        return said(waiting_text(no), meta=meta)
    later = "" if no.retry_after_s is None else f" Try again in {no.retry_after_s:g} s."
    return said(f"The call was refused: {no.reason}.{later}", meta=meta)


def waiting_text(no: Refused) -> str:
    """Say that a person has to decide, and what to do then."""
    return (
        f"This call waits for a person's approval ({no.approval}). Nothing was done. "
        "Ask again later with exactly the same arguments; other arguments need another approval."
    )


def unknown_tool(name: str) -> McpError:
    """Return the error for a tool that is not here, or not for this caller: nobody can tell which."""
    return McpError(INVALID_PARAMS, f"Unknown tool: {plain_text(name[:128])}")


def looked_at(result: McpObject, entry: ToolEntry, validators: Validators) -> McpObject:
    """Return a tool's result if it is what its definition promised, else a result that says what it is not."""
    if result.get("resultType") == INPUT_REQUIRED:
        return result
    problem = _unfit(result)
    if problem:
        return said(f"The tool {entry.name} answered with something that is no result: {problem}.")
    schema = entry.result_schema
    if schema is None or result.get("isError") is True:
        return result
    structured = result.get("structuredContent")
    if structured is None:
        return said(f"The tool {entry.name} promised a structured result and gave none.")
    wrong = validators.problem(f"{entry.tool.definition.digest} out", schema, structured)
    if wrong:
        return said(f"The tool {entry.name} gave a result that is not of its schema: {wrong}.")
    return result


def failed(result: McpObject) -> bool:
    """Tell whether a result is an error."""
    return result.get("isError") is True


def in_revision(result: McpObject, revision: str) -> McpObject:
    """Return a result without the words that the client's revision does not know."""
    if revision >= NEWEST or not _OF_THE_NEWEST & result.keys():
        return result
    return {key: value for key, value in result.items() if key not in _OF_THE_NEWEST}


def _unfit(result: McpObject) -> str:
    content = result.get("content")
    if content is None and "structuredContent" in result:
        text = encode(result["structuredContent"]).decode()
        result["content"] = [{"type": "text", "text": text}]
        return ""
    if not isinstance(content, list):
        return "it has no content"
    if not all(isinstance(one, dict) and isinstance(one.get("type"), str) for one in content):
        return "its content is no list of blocks"
    if not isinstance(result.get("isError", False), bool):
        return "`isError` is neither true nor false"
    return ""
