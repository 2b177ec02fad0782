"""The door itself: `/own/values` and `/own/tier`, each request one call through the gate.

Its values are the agent's own: no grant names them, and a warrant of a caller does not bound them, since nobody else
reaches them. Moving up is granted by name (`needs.tiers`), bounded by warrants, and asked of policy as any call.
"""

import logging
from collections.abc import AsyncIterator
from typing import Final

from starlette.types import Receive, Scope, Send

from hive.core.call import OWN, EffectClass, Outcome, Principal, Refused, Verb, sha256_hex
from hive.core.errors import (
    BadInputError,
    EngineError,
    HiveError,
    StateError,
    TierUnavailableError,
    TooLargeError,
)
from hive.core.ids import SandboxId, plain_text
from hive.core.json import Json, decode, encode
from hive.kernel.ports import Act, Attempt, Gate
from hive.kernel.rising import TIER_OF, Rising
from hive.memory import VALUE_MAX_BYTES, Shelf, Values
from hive.protocols.own.wire import (
    BYTES,
    OwnAnswer,
    OwnRequest,
    body_of,
    give,
    problem,
    request_of,
    told,
)

log: Final = logging.getLogger(__name__)
QUESTION_MAX_BYTES: Final = 1024
_HELD, _NOTHING = b"\x01", b"\x00"
_NOWHERE: Final = problem(404, "E040", "There is nothing at this address.")


class OwnDoor:
    """An ASGI application on a sandbox's own socket."""

    def __init__(self, *, gate: Gate, values: Values, rising: Rising) -> None:
        self._gate = gate
        self._values = values
        self._rising = rising

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http":
            await give(send, await self._answered(scope, receive))

    async def _answered(self, scope: Scope, receive: Receive) -> OwnAnswer:
        try:
            request = request_of(scope)
            sandbox = SandboxId(str(scope.get("hive.sandbox", "")))
            principal = self._gate.resolve_handle(sandbox, request.handle)
            if isinstance(principal, Refused):
                return _refused(principal, 401)
            return await self._done(principal, request, receive)
        except (HiveError, TimeoutError) as error:
            return _failed(error)

    async def _done(self, principal: Principal, request: OwnRequest, receive: Receive) -> OwnAnswer:
        match request.path:
            case ("tier",) if request.method == "POST":
                return await self._move(principal, request, receive)
            case ("values",) if request.method == "GET":
                return await self._list(principal, request)
            case ("values", key):
                return await self._value(principal, request, key, receive)
            case _:
                return _NOWHERE

    async def _list(self, principal: Principal, request: OwnRequest) -> OwnAnswer:
        shelf = _shelf(principal)

        async def act() -> AsyncIterator[bytes]:
            yield encode(list(await self._values.keys(shelf)))

        done = await self._passed(_attempt(principal, Verb.RECALL, f"{OWN}*", {}, request), act)
        return done if isinstance(done, OwnAnswer) else OwnAnswer(status=200, body=done)

    async def _value(
        self, principal: Principal, request: OwnRequest, key: str, receive: Receive
    ) -> OwnAnswer:
        shelf, target = _shelf(principal), f"{OWN}{key}"
        match request.method:
            case "GET":
                done = await self._passed(
                    _attempt(principal, Verb.RECALL, target, {}, request), self._got(shelf, key)
                )
                if isinstance(done, OwnAnswer):
                    return done
                if done[:1] != _HELD:
                    return problem(404, "E040", "Nothing is kept under that name.")
                return OwnAnswer(status=200, body=done[1:], media=BYTES)
            case "PUT":
                value = await body_of(receive, limit_bytes=VALUE_MAX_BYTES)
                said: dict[str, Json] = {"bytes": len(value), "sha256": sha256_hex(value)}
                attempt = _attempt(
                    principal, Verb.REMEMBER, target, said, request, size_bytes=len(value)
                )
                done = await self._passed(attempt, self._put(shelf, key, value))
            case "DELETE":
                attempt = _attempt(principal, Verb.REMEMBER, target, {"forget": True}, request)
                done = await self._passed(attempt, self._forgotten(shelf, key))
            case _:
                return problem(405, "E031", "Use GET, PUT or DELETE.")
        return done if isinstance(done, OwnAnswer) else OwnAnswer(status=204)

    def _got(self, shelf: Shelf, key: str) -> Act:
        async def act() -> AsyncIterator[bytes]:
            value = await self._values.get(shelf, key)
            yield _NOTHING if value is None else _HELD + value

        return act

    def _put(self, shelf: Shelf, key: str, value: bytes) -> Act:
        async def act() -> AsyncIterator[bytes]:
            await self._values.put(shelf, key, value)
            yield b"kept"

        return act

    def _forgotten(self, shelf: Shelf, key: str) -> Act:
        async def act() -> AsyncIterator[bytes]:
            await self._values.forget(shelf, key)
            yield b"forgotten"

        return act

    async def _move(self, principal: Principal, request: OwnRequest, receive: Receive) -> OwnAnswer:
        what = _asked(await body_of(receive, limit_bytes=QUESTION_MAX_BYTES))
        tier = TIER_OF[what]
        name = tier.name.lower()

        async def act() -> AsyncIterator[bytes]:
            if not self._rising.stands(principal, tier):
                self._rising.check(principal, tier)
            yield encode({"tier": name})

        attempt = _attempt(principal, Verb.SPAWN, name, {"what": what}, request)
        done = await self._passed(attempt, act)
        if isinstance(done, OwnAnswer):
            return done
        if self._rising.stands(principal, tier):
            return told(200, tier=name)
        # On record by now; from here on the turn is over in this sandbox.
        self._rising.move(principal, tier)
        return told(202, tier=name)

    async def _passed(self, attempt: Attempt, act: Act) -> bytes | OwnAnswer:
        """Let one call pass the gate and return what it brought, or the refusal."""
        async with self._gate.deliver(attempt, act) as passage:
            if isinstance(passage, Refused):
                return _refused(passage, 429 if passage.retry_after_s is not None else 403)
            try:
                brought = b"".join([frame async for frame in passage])
            except (EngineError, BadInputError, StateError, TierUnavailableError):
                passage.settle(Outcome.FAILED)
                raise
            passage.settle(Outcome.OK)
            return brought


def _attempt(
    principal: Principal,
    verb: Verb,
    target: str,
    said: dict[str, Json],
    request: OwnRequest,
    *,
    size_bytes: int = 0,
) -> Attempt:
    return Attempt(
        principal=principal,
        verb=verb,
        target=target,
        effect=EffectClass.PURE if verb is Verb.RECALL else EffectClass.IDEMPOTENT,
        arguments=encode({"target": target, **said}),
        size_bytes=size_bytes,
        timeout_s=60.0,
        traceparent=request.traceparent,
        facts=said,
    )


def _asked(body: bytes) -> str:
    try:
        told_what = decode(body)
    except ValueError as error:
        raise BadInputError("The body is not JSON.") from error
    what = told_what.get("what") if isinstance(told_what, dict) and len(told_what) == 1 else None
    if not isinstance(what, str) or what not in TIER_OF:
        raise BadInputError(
            "That cannot be asked for.", why=f"`what` is one of {', '.join(TIER_OF)}."
        )
    return what


def _shelf(principal: Principal) -> Shelf:
    if principal.agent is None or principal.turn is None:
        raise StateError("Only an agent in its turn keeps values.")
    return Shelf(agent=principal.agent, owner=principal.owner)


def _failed(error: HiveError | TimeoutError) -> OwnAnswer:
    match error:
        case TooLargeError():
            return problem(413, error.code, f"{error.what} {error.why}".strip())
        case BadInputError():
            return problem(400, error.code, f"{error.what} {error.why}".strip())
        case StateError() | TierUnavailableError():
            return problem(409, error.code, f"{error.what} {error.why}".strip())
        case _:
            log.warning("own.failed", extra={"error": type(error).__name__})
            return problem(503, "E021", "The node cannot do that now.")


def _refused(no: Refused, status: int) -> OwnAnswer:
    return problem(
        status, f"hive.{no.check}", plain_text(no.reason), **{"hive-reason": f"hive.{no.check}"}
    )
