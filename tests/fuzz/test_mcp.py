"""Made-up bytes for all that reads of MCP: clients at the front, servers at the hub, definitions at the pins."""

import json

import pytest

from hive.core.errors import EngineUnavailableError, TooLargeError
from hive.protocols.mcp.drivers.events import EventLines
from hive.protocols.mcp.drivers.messages import read_message as read_answer
from hive.protocols.mcp.drivers.messages import result_of
from hive.protocols.mcp.front.limits import FrontLimits
from hive.protocols.mcp.front.wire import WireRefusedError, parse_body, read_message
from hive.protocols.mcp.gateway.names import outward_name
from hive.protocols.mcp.hub.definitions import read_definitions
from hive.protocols.mcp.pins.diff import difference
from hive.protocols.mcp.pins.look import NameIndex, look
from hive.protocols.mcp.ports import McpError
from hive.protocols.mcp.validation import Validators
from tests.fuzz.mutator import fuzz

pytestmark = pytest.mark.fuzz
META = "io.modelcontextprotocol/"
ENVELOPE = {
    f"{META}protocolVersion": "2026-07-28",
    f"{META}clientInfo": {"name": "n", "version": "1"},
    f"{META}clientCapabilities": {"elicitation": {}, "extensions": {"a/b": {}}},
    "progressToken": 7,
    "traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01",
}
ASKED = [
    json.dumps({"jsonrpc": "2.0", **message}).encode()
    for message in (
        {"id": 1, "method": "initialize", "params": {"protocolVersion": "2025-11-25"}},
        {"id": "a", "method": "tools/call", "params": {"name": "x", "arguments": {"a": [1, None]}}},
        {"id": 2, "method": "tools/list", "params": {"cursor": "c", "_meta": ENVELOPE}},
        {"method": "notifications/cancelled", "params": {"requestId": 1, "reason": "r"}},
        {"id": 3, "result": {"content": [{"type": "text", "text": "t"}]}},
        {"id": 4, "error": {"code": -32000, "message": "no", "data": {"a": 1}}},
    )
]
EVENTS = [
    b'event: message\nid: 1\nretry: 10\ndata: {"jsonrpc":"2.0","id":1,"result":{}}\n\n',
    b": ping\r\n\r\ndata: a\r\ndata: b\r\n\r\n",
    b"id: 2\n\ndata:\n\n",
]
SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "a": {"type": "string", "pattern": "^(a+)+$", "description": "d"},
        "b": {"$ref": "#/$defs/b"},
        "c": {"anyOf": [{"type": "integer", "minimum": 0}, {"enum": ["x", None]}]},
    },
    "required": ["a"],
    "$defs": {"b": {"type": "array", "items": {"$ref": "#/properties/a"}, "maxItems": 3}},
    "additionalProperties": False,
}
TOOLS = [
    json.dumps(tool).encode()
    for tool in (
        {"name": "send_email", "description": "Sends a mail.", "inputSchema": SCHEMA},
        {
            "name": "read.file",
            "title": "Read",
            "inputSchema": {"type": "object"},
            "annotations": {},
        },
        {"name": "x", "inputSchema": {"type": "object"}, "outputSchema": SCHEMA, "icons": [{}]},
    )
]
VALUES = ({}, {"a": "a" * 40 + "!"}, {"a": "a", "b": ["a", "b"], "c": -1}, {"c": "x", "d": 1})


def test_messages_of_clients():
    limits = FrontLimits()

    def read(data: bytes) -> None:
        message = parse_body(data, limits, depth_max=64)
        for one in message if isinstance(message, list) else []:
            read_message(one, limits)

    fuzz(ASKED, read, allowed=WireRefusedError)


def test_answers_of_servers():
    def read(data: bytes) -> None:
        message = read_answer(data)
        if message.error is not None or message.result is not None:
            result_of(message)

    fuzz(ASKED, read, allowed=(ValueError, McpError, EngineUnavailableError))


def test_event_streams_of_servers_in_any_pieces():
    def read(data: bytes) -> None:
        whole, pieces = EventLines(90), EventLines(90)
        events = list(whole.feed(data))
        found = [
            one for start in range(0, len(data), 3) for one in pieces.feed(data[start : start + 3])
        ]
        assert found == events

    fuzz(EVENTS, read, allowed=TooLargeError)


def test_definitions_of_servers():
    index = NameIndex()
    index.add("mail", "send_email", "0")

    def read(data: bytes) -> None:
        listed = json.loads(data)
        definitions, _ = read_definitions("s", [listed], over_http=False)
        for one in definitions:
            look(one, index)
            assert "\u202e" not in difference(None, one)
            assert len(outward_name("s", one.name)) <= 64

    fuzz(TOOLS, read, allowed=(ValueError, RecursionError))


def test_schemas_of_servers_are_checked_or_refused_in_bounded_time():
    validators = Validators()

    def read(data: bytes) -> None:
        schema = json.loads(data)
        if isinstance(schema, dict):
            for value in VALUES:
                validators.problem(data.hex()[:64], schema, value)

    fuzz([json.dumps(SCHEMA).encode()], read, allowed=(ValueError, RecursionError))
