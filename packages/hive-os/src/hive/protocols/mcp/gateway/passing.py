"""Resources, prompts, completion and log levels of one server, passed through the gate to it.

Each is a call like any other: the target is `server.@resources`, `server.@prompts` or `server.@logging`, and
an agent's grant names it so, or with `server.*` or `*`. Addresses and names stay the server's own.

None of them is *pure*: what is read leaves the node with its address and its arguments, to a stranger who may
count it, bill it or change by it. They are *idempotent*: a turn that runs again is served what it was told, and
one that was cut off in the middle may ask again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from hive.core.call import EffectClass, Refused
from hive.core.errors import HiveError
from hive.core.grant import Grant
from hive.core.json import Json, encode
from hive.protocols.mcp.gateway.couriers import QUESTION_WAIT_S, BoundedCourier, askable
from hive.protocols.mcp.gateway.deeds import ServerDoor, ServerReply, ServerRequest
from hive.protocols.mcp.gateway.results import (
    CHECK_KEY,
    INPUT_REQUIRED,
    INTERNAL,
    in_revision,
)
from hive.protocols.mcp.gateway.rounds import exchanged
from hive.protocols.mcp.gateway.seals import CallBinding, StateSeal
from hive.protocols.mcp.ports import (
    NEWEST,
    Courier,
    McpError,
    McpObject,
    ServerLink,
    ServerView,
    ToolHub,
    Visitor,
)

METHOD_NOT_FOUND: Final = -32601
REFUSED: Final = -32003
INVALID_PARAMS: Final = -32602
OLDER_NOT_FOUND: Final = -32002
"""What older revisions say of a resource that is not there; the newest calls it invalid params."""
KINDS: Final[Mapping[str, str]] = {
    "resources/list": "resources",
    "resources/templates/list": "resources",
    "resources/read": "resources",
    "resources/subscribe": "resources",
    "resources/unsubscribe": "resources",
    "prompts/list": "prompts",
    "prompts/get": "prompts",
    "completion/complete": "prompts",
    "logging/setLevel": "logging",
}
OFFERED: Final = ("resources", "prompts", "completions", "logging")
_VOLATILE: Final = frozenset({"_meta"})
PASSED: Final = "passed"


def granted_kind(grant: Grant, server: str, kind: str) -> bool:
    """Tell whether a grant opens what a server offers besides its tools."""
    return grant.allows_tool(f"{server}.@{kind}")


def offered(grant: Grant, server: ServerView) -> dict[str, Json]:
    """Return the capabilities of a server that a grant opens."""
    found: dict[str, Json] = {}
    for name in OFFERED:
        kind = "prompts" if name == "completions" else name
        capability = server.capabilities.get(name)
        if isinstance(capability, dict) and granted_kind(grant, server.spec.name, kind):
            found[name] = capability
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class PassThrough:
    """What a server offers besides tools, for visitors."""

    hub: ToolHub
    door: ServerDoor
    seal: StateSeal

    async def answer(
        self,
        visitor: Visitor,
        grant: Grant,
        server: str,
        asked: tuple[str, McpObject],
        courier: Courier,
    ) -> McpObject:
        """Ask a server.

        Raises:
            McpError: it is not offered to this visitor, was refused, or the server answered so.

        """
        method, params = asked
        kind = _kind(method, params)
        view = self.hub.server(server)
        if not kind or view is None or not granted_kind(grant, server, kind):
            raise McpError(METHOD_NOT_FOUND, f"There is no method {method[:60]}.")
        if method == "logging/setLevel" and (
            view.revision >= NEWEST or "logging" not in view.capabilities
        ):
            # The newest revision is told the level with each request instead.
            return {}
        binding = CallBinding.of(visitor, f"{server}.@{kind}", _canonical(method, params))
        # A question reaches an older client on its stream, and a new one by the result of a new server.
        reachable = courier.revision < NEWEST or view.revision >= NEWEST
        ear = BoundedCourier(courier, askable(courier) if reachable else {})
        request = self._request(view, kind, (method, self._opened(params, binding)))
        if ear.client:
            request = replace(request, timeout_s=request.timeout_s + QUESTION_WAIT_S)

        async def exchange(link: ServerLink, told: ServerRequest, meta: McpObject) -> McpObject:
            return await exchanged(link, told, meta, ear)

        try:
            reply = await self.door.ask(visitor, request, ear, look=_look, exchange=exchange)
        except HiveError as error:
            raise McpError(INTERNAL, f"It could not be asked: {error.what}") from error
        try:
            return in_revision(self._result(reply, binding), courier.revision)
        except McpError as error:
            if error.code != OLDER_NOT_FOUND or courier.revision < NEWEST:
                raise
            raise McpError(INVALID_PARAMS, error.message, error.data) from error

    def _opened(self, params: McpObject, binding: CallBinding) -> McpObject:
        kept = {key: value for key, value in params.items() if key not in _VOLATILE}
        if "requestState" in kept:
            state = self.seal.open(kept.pop("requestState"), binding)
            if state.content is not None:
                kept["requestState"] = state.content
        return kept

    def _request(self, view: ServerView, kind: str, asked: tuple[str, McpObject]) -> ServerRequest:
        method, params = asked
        name = view.spec.name
        arguments = encode({"method": method, "params": params})
        return ServerRequest(
            server=name,
            method=method,
            params=params,
            target=f"{name}.@{kind}",
            effect=EffectClass.IDEMPOTENT,
            arguments=arguments,
            timeout_s=view.spec.timeout_s,
            result_max_bytes=view.spec.result_max_bytes,
            facts={"server": name, "method": method, "arguments_bytes": len(arguments)},
        )

    def _result(self, reply: Refused | ServerReply, binding: CallBinding) -> McpObject:
        if isinstance(reply, Refused):
            data: Json = {CHECK_KEY: reply.check, "hive/approval": reply.approval}
            raise McpError(REFUSED, f"The request was refused: {reply.reason}.", data)
        if reply.error is not None:
            raise reply.error
        if reply.result is None:
            raise McpError(INTERNAL, reply.failed)
        if reply.result.get("resultType") != INPUT_REQUIRED:
            return reply.result
        state = reply.result.get("requestState")
        content = state if isinstance(state, str) else None
        return {**reply.result, "requestState": self.seal.write(PASSED, content, binding)}


def _look(heard: ServerReply) -> tuple[ServerReply, bool]:
    return heard, heard.result is not None


def _kind(method: str, params: McpObject) -> str:
    kind = KINDS.get(method, "")
    reference = params.get("ref")
    if method == "completion/complete" and isinstance(reference, dict):
        return "resources" if reference.get("type") == "ref/resource" else kind
    return kind


def _canonical(method: str, params: McpObject) -> bytes:
    left_out = _VOLATILE | {"requestState", "inputResponses"}
    kept = {key: value for key, value in params.items() if key not in left_out}
    return encode({"method": method, "params": kept})
