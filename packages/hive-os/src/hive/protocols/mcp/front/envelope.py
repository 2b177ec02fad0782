"""What a request of the stateless revision says about itself, and whether its headers agree.

The checks come in the order of the standard; the first that fails is the answer. The body decides: headers
are compared with it and never read for meaning.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from hive.core.json import Json
from hive.protocols.mcp.front.heads import McpHead
from hive.protocols.mcp.front.parameters import PREFIX, decode_header, wrong_parameter
from hive.protocols.mcp.front.wire import (
    HEADER_MISMATCH,
    INVALID_PARAMS,
    UNSUPPORTED_REVISION,
    McpAsked,
    WireRefusedError,
)
from hive.protocols.mcp.ports import NEWEST, McpService, Visitor

META: Final = "io.modelcontextprotocol/"
VERSION_KEY: Final = META + "protocolVersion"
CAPABILITIES_KEY: Final = META + "clientCapabilities"
LEVEL_KEY: Final = META + "logLevel"
SERVER_KEY: Final = META + "serverInfo"
SUBSCRIPTION_KEY: Final = META + "subscriptionId"
VERSION_HEADER: Final = "mcp-protocol-version"
METHOD_HEADER: Final = "mcp-method"
NAME_HEADER: Final = "mcp-name"
NAMED: Final[Mapping[str, str]] = {
    "tools/call": "name",
    "prompts/get": "name",
    "resources/read": "uri",
}
_TASKS: Final = frozenset({"tasks/get", "tasks/update", "tasks/cancel", "tasks/result"})
_ROUTING: Final = frozenset({VERSION_HEADER, METHOD_HEADER, NAME_HEADER})
_PARAMETERS: Final = PREFIX.lower()


@dataclass(frozen=True, slots=True)
class McpEnvelope:
    """What `_meta` of a request says: the client's capabilities, and what it wants to hear meanwhile."""

    capabilities: Mapping[str, Json]
    level: str
    progress: Json


def open_envelope(asked: McpAsked, head: McpHead) -> McpEnvelope:
    """Check a request of the stateless revision and return its envelope.

    Raises:
        WireRefusedError: something is missing, or body and headers disagree.

    """
    twice = head.twice & _ROUTING
    if twice:
        raise _mismatch(asked, f"{min(twice)} stands there twice")
    meta = asked.params.get("_meta")
    missing = [key for key in (VERSION_KEY, CAPABILITIES_KEY) if key not in _object(meta)]
    if missing:
        raise _invalid(asked, f"params._meta lacks {' and '.join(missing)}.")
    meta = _object(meta)
    version = meta[VERSION_KEY]
    if VERSION_HEADER not in head.headers or version != head.headers[VERSION_HEADER]:
        raise _mismatch(asked, f"{VERSION_HEADER} is not the version of the body")
    if head.headers.get(METHOD_HEADER) != asked.method:
        raise _mismatch(asked, f"{METHOD_HEADER} is not the method of the body")
    _compare_name(asked, head)
    if version != NEWEST:
        raise unsupported(str(version), asked)
    capabilities = meta[CAPABILITIES_KEY]
    if not isinstance(capabilities, dict):
        raise _invalid(asked, f"{CAPABILITIES_KEY} is no object.")
    level = meta.get(LEVEL_KEY)
    return McpEnvelope(
        capabilities, level if isinstance(level, str) else "", meta.get("progressToken")
    )


def check_params(asked: McpAsked) -> None:
    """Check what every service relies on: names are text, arguments an object.

    Raises:
        WireRefusedError: they are not.

    """
    params = asked.params
    key = NAMED.get(asked.method)
    if key is not None and not isinstance(params.get(key), str):
        raise _invalid(asked, f"`{key}` is missing or no text.")
    if not isinstance(params.get("arguments", {}), dict | None):
        raise _invalid(asked, "`arguments` is no object.")
    if not isinstance(params.get("cursor", ""), str | None):
        raise _invalid(asked, "`cursor` is no text.")
    if not isinstance(params.get("_meta", {}), dict | None):
        raise _invalid(asked, "`_meta` is no object.")


def compare_parameters(
    asked: McpAsked, head: McpHead, service: McpService, visitor: Visitor
) -> None:
    """Compare the headers that repeat arguments with the arguments of a call.

    Raises:
        WireRefusedError: they disagree.

    """
    if asked.method != "tools/call":
        return
    arguments, name = asked.params.get("arguments"), asked.params.get("name")
    shown = any(key.startswith(_PARAMETERS) for key in head.headers)
    if not isinstance(name, str) or not (arguments or shown):
        return
    schema = service.input_schema(visitor, name)
    if schema is None:
        return
    wrong = wrong_parameter(schema, _object(arguments), head)
    if wrong is not None:
        raise _mismatch(asked, wrong)


def unsupported(version: str, asked: McpAsked | None = None) -> WireRefusedError:
    """Return the error for a revision that is not spoken here."""
    return WireRefusedError(
        400,
        UNSUPPORTED_REVISION,
        "Unsupported protocol version",
        data={"supported": [NEWEST], "requested": version[:64]},
        key=asked.id if asked else None,
    )


def _compare_name(asked: McpAsked, head: McpHead) -> None:
    key = NAMED.get(asked.method)
    shown = head.headers.get(NAME_HEADER)
    if key is None and (asked.method not in _TASKS or shown is None):
        return
    key = key or "taskId"
    said = asked.params.get(key)
    if said is not None and decode_header(shown) != said:
        raise _mismatch(asked, f"{NAME_HEADER} is not `{key}` of the body")


def _object(value: Json) -> dict[str, Json]:
    return value if isinstance(value, dict) else {}


def _invalid(asked: McpAsked, message: str) -> WireRefusedError:
    return WireRefusedError(400, INVALID_PARAMS, message, key=asked.id)


def _mismatch(asked: McpAsked, what: str) -> WireRefusedError:
    return WireRefusedError(400, HEADER_MISMATCH, f"Header mismatch: {what}.", key=asked.id)
