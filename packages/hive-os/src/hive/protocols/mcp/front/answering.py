"""A service's answer becomes bytes: whatever goes wrong behind it is an error that tells nothing of it."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import anyio

from hive.core.json import Json
from hive.protocols.mcp.front.envelope import SERVER_KEY
from hive.protocols.mcp.front.wire import (
    INTERNAL_ERROR,
    STATUSES,
    McpAsked,
    error_bytes,
    result_bytes,
)
from hive.protocols.mcp.ports import Courier, McpError, McpObject, McpService, Visitor

log = logging.getLogger(__name__)
CACHEABLE: Final = frozenset(
    {
        "prompts/list",
        "resources/list",
        "resources/read",
        "resources/templates/list",
        "server/discover",
        "tools/list",
    }
)
_NEW_FIELDS: Final = ("resultType", "ttlMs", "cacheScope")


@dataclass(frozen=True, slots=True)
class McpAnswer:
    """What goes to the client: an HTTP status, a message of JSON-RPC, and whether it is a result."""

    status: int
    body: bytes
    ok: bool


async def answer_bytes(
    service: McpService,
    visitor: Visitor,
    asked: McpAsked,
    courier: Courier,
    *,
    stateless: bool,
    timeout_s: float,
) -> McpAnswer:
    """Ask the service and write what it says."""
    try:
        with anyio.fail_after(timeout_s):
            result = await service.answer(visitor, asked.method, asked.params, courier)
        shaped = complete(asked.method, result, service.info) if stateless else without_new(result)
        return McpAnswer(200, result_bytes(asked.id, shaped), ok=True)
    except McpError as error:
        return _failed(asked, error, stateless=stateless)
    except TimeoutError:
        late = McpError(INTERNAL_ERROR, "The answer took too long.")
        return _failed(asked, late, stateless=stateless)
    except Exception:
        log.exception("mcp.answer.failed", extra={"method": asked.method})
        broken = McpError(INTERNAL_ERROR, "Internal error")
        return _failed(asked, broken, stateless=stateless)


def complete(method: str, result: McpObject, info: Mapping[str, Json]) -> McpObject:
    """Add what every result of the stateless revision has: its kind, its age, and who gives it."""
    shaped = dict(result)
    if shaped.get("resultType") is None:
        shaped["resultType"] = "complete"
    if method in CACHEABLE and shaped["resultType"] == "complete":
        shaped.setdefault("ttlMs", 0)
        shaped.setdefault("cacheScope", "private")
    meta = shaped.get("_meta")
    if meta is None:
        shaped["_meta"] = {SERVER_KEY: dict(info)}
    elif isinstance(meta, dict) and meta.get(SERVER_KEY) is None:
        shaped["_meta"] = {**meta, SERVER_KEY: dict(info)}
    return shaped


def without_new(result: McpObject) -> McpObject:
    """Leave out what clients of older revisions do not know."""
    if not any(name in result for name in _NEW_FIELDS):
        return result
    return {key: value for key, value in result.items() if key not in _NEW_FIELDS}


def _failed(asked: McpAsked, error: McpError, *, stateless: bool) -> McpAnswer:
    status = STATUSES.get(error.code, 200) if stateless else 200
    return McpAnswer(status, error_bytes(asked.id, error), ok=False)
