"""An MCP server as an A2A agent: a message names a tool and its arguments, the answer is the tool's result.

    {"tool": "read_file", "arguments": {"path": "a.txt"}}      as data, or as the message's text
    read_file {"path": "a.txt"}                                as text

Any other message is answered with what can be called. The server is reached through the node's gate alone, so
a call is admitted, checked and recorded like any other, and this agent holds no secret of the server.
"""

import json
import os
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException
from typing import Any, NoReturn

from hive_guest.api import GuestTurn, NeedInput, gate_address, log, part
from hive_guest.shapes import Failure

Wire = dict[str, Any]
SERVER = os.environ.get("TOOL_AGENT_SERVER", "")  # noqa: TID251  it runs inside a sandbox
REVISION = "2026-07-28"
ANSWER_MAX_BYTES = 8 << 20
LISTED_MAX = 50
PAGES_MAX = 20
META = {
    "io.modelcontextprotocol/protocolVersion": REVISION,
    "io.modelcontextprotocol/clientInfo": {"name": "hive-tool-agent", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}},
}


class ToolServerError(Exception):
    """The server, or the gate before it, answered with an error."""


def agent(text: str, turn: GuestTurn) -> object:
    """Call the tool that a message names; without one, tell what can be called."""
    try:
        tools = {tool["name"]: tool for tool in _tools(turn)}
        resumed = _resumed(turn)
        if resumed is not None:
            return _called(turn, tools, *resumed)
        wanted = _wanted(text, turn, tools)
        if wanted is None:
            return _overview(tools)
        return _called(turn, tools, *wanted, {})
    except ToolServerError as error:
        return _failed(str(error))


def _wanted(text: str, turn: GuestTurn, tools: Wire) -> tuple[str, Wire] | None:
    """Return the tool and the arguments that a message names."""
    found: Wire | None = turn.data if isinstance(turn.data, dict) else _object_in(text)
    if found is not None and isinstance(found.get("tool"), str):
        given = found.get("arguments")
        return found["tool"], given if isinstance(given, dict) else {}
    name, _, rest = text.strip().partition(" ")
    if name in tools:
        if not rest.strip():
            return name, found or {}
        arguments = _object_in(rest)
        if arguments is None:
            raise ToolServerError(f"After the tool {name} stands an object of JSON.")
        return name, arguments
    skill = str((turn.message.get("metadata") or {}).get("skillId"))
    return (skill, found) if skill in tools and found is not None else None


def _resumed(turn: GuestTurn) -> tuple[str, Wire, Wire] | None:
    """Return the call that waited for an answer, with the answer, where this message brings one."""
    last: Wire = turn.history[-1] if turn.history else {}
    if last.get("messageId") == turn.message.get("messageId"):
        last = turn.history[-2] if len(turn.history) > 1 else {}
    whose = last.get("taskId") or turn.task_id
    if last.get("role") != "ROLE_AGENT" or whose != turn.task_id:
        return None
    kept = next(
        (one["data"]["resume"] for one in last.get("parts", ()) if _is_kept(one.get("data"))), None
    )
    if kept is None:
        return None
    content = turn.data if isinstance(turn.data, dict) else _object_in(turn.text)
    if content is None:
        fields = kept.get("fields") or ["message"]
        content = {fields[0]: turn.text}
    answers = {kept["key"]: {"action": "accept", "content": content}}
    more: Wire = {"inputResponses": answers}
    if kept.get("state") is not None:
        more["requestState"] = kept["state"]
    return kept["tool"], kept["arguments"], more


def _is_kept(data: Any) -> bool:  # noqa: ANN401  whatever a part holds
    return isinstance(data, dict) and isinstance(data.get("resume"), dict)


def _called(turn: GuestTurn, tools: Wire, name: str, arguments: Wire, more: Wire) -> object:
    if name not in tools:
        raise ToolServerError(f"There is no tool {name!r}. {_names(tools)}")
    headers = _named_headers(tools[name].get("inputSchema") or {}, arguments)
    params = {"name": name, "arguments": arguments, **more}
    result = _request(turn, "tools/call", params, {"Mcp-Name": name, **headers})
    if result.get("resultType") == "input_required":
        _ask(name, arguments, result)
    pieces = [_piece(block) for block in result.get("content") or ()]
    structured = result.get("structuredContent")
    if result.get("isError"):
        said = [str(one.get("text", "")) for one in pieces if isinstance(one, dict)]
        return _failed(" ".join(said) or "The tool failed.")
    if structured is not None:
        pieces.append(part(data=structured))
    return pieces or "The tool gave no content."


def _ask(name: str, arguments: Wire, result: Wire) -> NoReturn:
    """End the turn with the first question of a server."""
    requests = result.get("inputRequests") or {}
    forms = [(key, one) for key, one in requests.items() if one["method"] == "elicitation/create"]
    if len(forms) != 1 or len(requests) != 1:
        raise ToolServerError("The tool asks for something that an agent cannot pass on.")
    key, asked = forms[0]
    schema = asked["params"].get("requestedSchema") or {}
    kept = {
        "tool": name,
        "arguments": arguments,
        "key": key,
        "state": result.get("requestState"),
        "fields": list(schema.get("properties") or ()),
    }
    words = part(text=str(asked["params"].get("message") or "The tool asks for more."))
    turn_ends = part(data={"requestedSchema": schema, "resume": kept})
    raise NeedInput([words, turn_ends])


def _piece(block: Wire) -> object:
    """Turn one block of content into a part."""
    kind = block.get("type")
    if kind == "text":
        return part(text=str(block.get("text", "")))
    if kind in ("image", "audio"):
        return _raw(block.get("data"), block.get("mimeType"))
    if kind == "resource_link":
        return part(url=str(block.get("uri", "")), media_type=str(block.get("mimeType") or ""))
    inside = block.get("resource") or {}
    if isinstance(inside.get("blob"), str):
        return _raw(inside["blob"], inside.get("mimeType"))
    if isinstance(inside.get("text"), str):
        return part(text=inside["text"])
    return part(data=block)


def _raw(text: object, media_type: object) -> object:
    from binascii import a2b_base64

    return part(raw=a2b_base64(str(text)), media_type=str(media_type or ""))


def _overview(tools: Wire) -> str:
    lines = [f"This is the tool server {SERVER}. Name a tool and its arguments, such as:", ""]
    for name, tool in list(tools.items())[:LISTED_MAX]:
        about = str(tool.get("description") or "").strip().partition("\n")[0]
        fields = list((tool.get("inputSchema") or {}).get("properties") or ())
        example = json.dumps(dict.fromkeys(fields, "..."))
        lines.append(f"  {name} {example if fields else ''}   {about}".rstrip())
    return "\n".join(lines)


def _names(tools: Wire) -> str:
    return f"It has: {', '.join(list(tools)[:LISTED_MAX])}."


def _failed(text: str) -> Iterator[Failure]:
    yield Failure(text)


def _tools(turn: GuestTurn) -> list[Wire]:
    found: list[Wire] = []
    cursor = ""
    for _ in range(PAGES_MAX):
        params: Wire = {"cursor": cursor} if cursor else {}
        page = _request(turn, "tools/list", params, {})
        found += page.get("tools") or []
        cursor = str(page.get("nextCursor") or "")
        if not cursor:
            break
    return found


def _request(turn: GuestTurn, method: str, params: Wire, named: Wire) -> Wire:
    """Ask the server through the node's gate and return its result."""
    host, port = gate_address()
    meta = {**META, **({"traceparent": turn.traceparent} if turn.traceparent else {})}
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}
    headers = {
        "Accept": "application/json, text/event-stream",
        "Authorization": f"Bearer {os.environ.get('HIVE_HANDLE', '')}",  # noqa: TID251
        "Content-Type": "application/json",
        "MCP-Protocol-Version": REVISION,
        "Mcp-Method": method,
        **named,
    }
    connection = HTTPConnection(host, port, timeout=turn.timeout_s)
    try:
        connection.request("POST", f"/mcp/servers/{SERVER}", json.dumps(body).encode(), headers)
        response = connection.getresponse()
        data = response.read(ANSWER_MAX_BYTES + 1)
    except (OSError, HTTPException) as error:
        raise ToolServerError(f"The node did not answer: {error}") from error
    finally:
        connection.close()
    if len(data) > ANSWER_MAX_BYTES:
        raise ToolServerError("The answer is too large.")
    return _result_in(data, response.getheader("content-type", ""), response.status)


def _result_in(data: bytes, kind: str, status: int) -> Wire:
    texts = [data]
    if kind.startswith("text/event-stream"):
        events = data.replace(b"\r", b"").split(b"\n\n")
        texts = [
            b"\n".join(line[5:].strip() for line in event.split(b"\n") if line[:5] == b"data:")
            for event in events
        ]
    for text in texts:
        message = _object_in(text)
        if message is None:
            continue
        if isinstance(message.get("result"), dict):
            result: Wire = message["result"]
            return result
        if isinstance(message.get("error"), dict):
            error = message["error"]
            raise ToolServerError(str(error.get("message") or error.get("what") or error))
        if str(message.get("method", "")).startswith("notifications/"):
            log(str((message.get("params") or {}).get("message", "")))
    raise ToolServerError(f"The node answered {status} without a result.")


def _named_headers(schema: Wire, arguments: Wire, *, depth: int = 0) -> Wire:
    """Repeat in headers the arguments that a schema wants there."""
    found: Wire = {}
    for name, one in (schema.get("properties") or {}).items():
        value = arguments.get(name)
        if not isinstance(one, dict) or value is None or depth > 8:
            continue
        if isinstance(value, dict):
            found |= _named_headers(one, value, depth=depth + 1)
        elif isinstance(one.get("x-mcp-header"), str):
            plain = str(value).lower() if isinstance(value, bool) else str(value)
            found[f"Mcp-Param-{one['x-mcp-header']}"] = _header_text(plain)
    return found


def _header_text(text: str) -> str:
    if text.isascii() and text.isprintable() and text == text.strip():
        return text
    from binascii import b2a_base64

    return f"=?base64?{b2a_base64(text.encode(), newline=False).decode('ascii')}?="


def _object_in(text: bytes | str) -> Wire | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
