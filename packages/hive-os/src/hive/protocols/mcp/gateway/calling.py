"""A call of a tool: found in what the caller may see, its arguments checked, then the gate, then the server.

A server of the newest revision asks by its result and a client of the newest answers by a new request: both
pass through, sealed to the call. Where only one side is of that era, the other is asked in its own way.
"""

import logging
from dataclasses import dataclass, replace
from typing import Final

from hive.core.call import Refused, sha256_hex
from hive.core.clock import Clock
from hive.core.errors import HiveError, StateError
from hive.core.json import Json, encode
from hive.core.randomness import Randomness
from hive.protocols.mcp.effects import effect_of
from hive.protocols.mcp.gateway.catalog import INVALID_PARAMS, ToolEntry, ToolView
from hive.protocols.mcp.gateway.couriers import (
    QUESTION_WAIT_S,
    AbsentClient,
    BoundedCourier,
    askable,
)
from hive.protocols.mcp.gateway.deeds import ServerDoor, ServerReply, ServerRequest
from hive.protocols.mcp.gateway.held import HeldCalls
from hive.protocols.mcp.gateway.results import (
    INPUT_REQUIRED,
    failed,
    in_revision,
    looked_at,
    said,
    unknown_tool,
)
from hive.protocols.mcp.gateway.rounds import exchanged
from hive.protocols.mcp.gateway.seals import CallBinding, CarriedState, StateSeal
from hive.protocols.mcp.gateway.waiting import ApprovalAnswers, dismissed
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
from hive.protocols.mcp.validation import Validators

log: Final = logging.getLogger(__name__)
HELD: Final = "held"
PASSED: Final = "passed"
APPROVAL: Final = "approval"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """One call that may be made, as far as this caller's view says."""

    visitor: Visitor
    entry: ToolEntry
    server: ServerView
    arguments: McpObject
    canonical: bytes
    binding: CallBinding
    progress: Json = None
    answers: McpObject | None = None
    state: str | None = None

    def request(self, *, asking: bool) -> ServerRequest:
        """Return what the gate judges and the server is asked."""
        definition, spec = self.entry.tool.definition, self.server.spec
        params: McpObject = {"name": definition.name, "arguments": self.arguments}
        facts: dict[str, Json] = {
            "server": definition.server,
            "tool": definition.name,
            "definition": definition.digest,
            "arguments_bytes": len(self.canonical),
            "destructive": says_destructive(self.entry),
        }
        if self.answers is not None:
            # Not among the arguments: a rule on those has to find them in each round of a call.
            params["inputResponses"] = self.answers
            facts["answers"] = sha256_hex(encode(self.answers))
        if self.state is not None:
            params["requestState"] = self.state
        return ServerRequest(
            server=definition.server,
            method="tools/call",
            params=params,
            target=definition.full_name,
            effect=effect_of(spec, definition, approved_by=self.entry.tool.approved_by),
            arguments=self.canonical,
            timeout_s=spec.timeout_s + (QUESTION_WAIT_S if asking else 0.0),
            result_max_bytes=spec.result_max_bytes,
            facts=facts,
            progress=self.progress,
            aside=b"" if self.answers is None else encode(self.answers),
        )


class ToolCaller:
    """Calls tools of the hub for visitors."""

    def __init__(
        self,
        *,
        hub: ToolHub,
        door: ServerDoor,
        held: HeldCalls,
        approvals: ApprovalAnswers,
        validators: Validators,
        clock: Clock,
        randomness: Randomness,
    ) -> None:
        self._hub = hub
        self._door = door
        self._held = held
        self._approvals = approvals
        self._validators = validators
        self._randomness = randomness
        self._seal = StateSeal(clock, randomness)

    async def call(
        self, visitor: Visitor, view: ToolView, params: McpObject, courier: Courier
    ) -> McpObject:
        """Answer `tools/call`.

        Raises:
            McpError: there is no such tool for this visitor, or the server answered so.

        """
        name, arguments = _called(params)
        entry = view.get(name)
        server = None if entry is None else self._hub.server(entry.tool.definition.server)
        if entry is None or server is None:
            raise unknown_tool(name)
        wrong = self._wrong(entry, arguments)
        if wrong:
            return said(f"The arguments do not fit the tool {name}: {wrong}.")
        canonical = encode(arguments)
        meta = params.get("_meta")
        call = ToolCall(
            visitor=visitor,
            entry=entry,
            server=server,
            arguments=arguments,
            canonical=canonical,
            binding=CallBinding.of(visitor, entry.tool.definition.full_name, canonical),
            progress=meta.get("progressToken") if isinstance(meta, dict) else None,
        )
        try:
            return in_revision(await self._begun(call, params, courier), courier.revision)
        except HiveError as error:
            log.warning("mcp.gate_failed", extra={"error": type(error).__name__})
            return said(f"The call could not be made: {error.what}")

    def _wrong(self, entry: ToolEntry, arguments: McpObject) -> str:
        schema = entry.schema
        if schema is None:
            return ""
        key = f"{entry.tool.definition.digest} in"
        return self._validators.problem(key, schema, arguments)

    async def _begun(self, call: ToolCall, params: McpObject, courier: Courier) -> McpObject:
        shown = params.get("requestState")
        answers = params.get("inputResponses")
        if shown is None:
            return await self._anew(call, courier)
        state = self._seal.open(shown, call.binding)
        known = answers if isinstance(answers, dict) else {}
        if state.kind == HELD and state.content is not None:
            result = await self._held.resume(state.content, call.binding, courier, known)
            return self._round(call, state.content) if result is None else result
        if state.kind == APPROVAL:
            if dismissed(known):
                return said(f"The approval {state.content} was not given; nothing was done.")
            return await self._anew(call, courier)
        return await self._anew(_again(call, state, known), courier)

    async def _anew(self, call: ToolCall, courier: Courier) -> McpObject:
        client = askable(courier)
        bridged = courier.revision >= NEWEST > call.server.revision
        if not (client and bridged):
            return await self._once(call, BoundedCourier(courier, client), courier)
        key = self._randomness.token(16).hex()
        result = await self._held.begin(
            key, call.binding, courier, client, lambda ear: self._once(call, ear, courier)
        )
        return self._round(call, key) if result is None else result

    async def _once(self, call: ToolCall, ear: Courier, courier: Courier) -> McpObject:
        """Make the call once: `ear` is whom the server may ask, `courier` who reads the answer."""
        request = call.request(asking=bool(ear.client))

        async def exchange(link: ServerLink, told: ServerRequest, meta: McpObject) -> McpObject:
            self._admit_definition(call)
            return await exchanged(link, told, meta, ear)

        reply = await self._door.ask(
            call.visitor,
            request,
            ear,
            look=lambda heard: self._looked(heard, call.entry),
            exchange=exchange,
        )
        if isinstance(reply, Refused):
            if reply.check == "grant":
                raise unknown_tool(call.entry.name)
            absent = AbsentClient(courier.revision)
            return await self._approvals.answer(
                reply,
                call.visitor,
                courier,
                state=lambda: self._seal.write(APPROVAL, reply.approval, call.binding),
                again=lambda: self._once(call, absent, absent),
            )
        if reply.error is not None:
            raise reply.error
        result = reply.result if reply.result is not None else said(reply.failed)
        return self._passed(call, result) if result.get("resultType") == INPUT_REQUIRED else result

    def _admit_definition(self, call: ToolCall) -> None:
        """Look again in the last moment: a call may have waited for a person for an hour.

        Raises:
            StateError: the tool is another one by now, was blocked, or its server was changed.

        """
        definition = call.entry.tool.definition
        now, server = self._hub.tool(definition.full_name), self._hub.server(definition.server)
        same = now is not None and now.usable and now.definition.digest == definition.digest
        if not same or server is None or server.spec != call.server.spec:
            raise StateError(
                "The tool was changed or blocked while its call waited; nothing was done.",
                fix="List the tools again.",
            )

    def _looked(self, heard: ServerReply, entry: ToolEntry) -> tuple[ServerReply, bool]:
        if heard.result is None:
            return heard, False
        result = looked_at(heard.result, entry, self._validators)
        return ServerReply(result=result), not failed(result)

    def _passed(self, call: ToolCall, result: McpObject) -> McpObject:
        """Seal the state of a server's question, so that only this call can bring it back."""
        state = result.get("requestState")
        content = state if isinstance(state, str) else None
        return {**result, "requestState": self._seal.write(PASSED, content, call.binding)}

    def _round(self, call: ToolCall, key: str) -> McpObject:
        return {
            "resultType": INPUT_REQUIRED,
            "inputRequests": self._held.questions(key),
            "requestState": self._seal.write(HELD, key, call.binding),
        }


def says_destructive(entry: ToolEntry) -> bool:
    """Tell whether a tool says of itself that it destroys something; saying nothing is no such word."""
    hints = entry.tool.definition.raw.get("annotations")
    return isinstance(hints, dict) and hints.get("destructiveHint") is True


def _called(params: McpObject) -> tuple[str, McpObject]:
    name, arguments = params.get("name"), params.get("arguments")
    if arguments is None:
        arguments = {}
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise McpError(INVALID_PARAMS, "A call has a name, and its arguments are an object.")
    return name, arguments


def _again(call: ToolCall, state: CarriedState, answers: McpObject) -> ToolCall:
    return replace(call, answers=answers, state=state.content)
