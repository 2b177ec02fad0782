"""The operator's own eye on calls: hooks that see a call, its answer and every event of a stream.

A guard answers with a typed verdict. Whatever else happens in it (a crash, too much time, a verdict that
is none) is a refusal. Guards run in their order; each sees what the one before it left.

A held call is answered as *retry later* with the id of the approval in the error's details, not as a task that needs
input: such a task would not be in the agent's store, so the caller could neither read nor continue it.
Asked again after the approval was given, the same call passes, if the guard says so then.
"""

import logging
import math
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

import anyio

from hive_a2a.call import Proto, WireCall
from hive_a2a.faults import BUSY, WireFault, refused_by
from hive_a2a.ports import Stage

log = logging.getLogger(__name__)
TIMEOUT_S: Final = 5.0
HOLD_RETRY_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Allow:
    """Nothing to say."""


@dataclass(frozen=True, slots=True)
class Redact:
    """Go on with this in its place: a copy of what the guard was shown, of the same type; see `redacted`."""

    value: Proto


@dataclass(frozen=True, slots=True)
class Hold:
    """Wait for somebody's approval; `reason` is told to the caller."""

    approval: str
    reason: str
    retry_after_s: float = HOLD_RETRY_S


@dataclass(frozen=True, slots=True)
class Refuse:
    """No; `reason` is told to the caller."""

    reason: str


Verdict: TypeAlias = Allow | Redact | Hold | Refuse
ALLOW: Final = Allow()


class Guard(Protocol):
    """Looks at calls. What it is shown is not to be changed: a redaction is made on a copy."""

    async def before(self, call: WireCall) -> Verdict:
        """Judge a call before the handler sees it; a redaction is of `call.params`."""
        ...

    async def after(self, call: WireCall, answer: Proto) -> Verdict:
        """Judge the answer of a call that has one."""
        ...

    async def event(self, call: WireCall, event: Proto) -> Verdict:
        """Judge one event of a stream, before the caller sees it."""
        ...


class GuardStage:
    """The stage."""

    def __init__(self, guards: Sequence[Guard], *, timeout_s: float = TIMEOUT_S) -> None:
        self._guards = tuple(guards)
        self._timeout_s = timeout_s

    @property
    def idle(self) -> bool:
        """Tell whether there is nobody to ask."""
        return not self._guards

    async def before(self, call: WireCall) -> None:
        """Let a call pass, or what is left of it.

        Raises:
            WireFault: refused, or held.

        """
        for guard in self._guards:
            changed = await self._ask(call.params, guard.before, call)
            if changed is not call.params:
                # In place, so that whoever already holds the request holds what was left of it.
                call.params.CopyFrom(changed)

    async def after(self, call: WireCall, answer: Proto) -> Proto:
        """Return the answer, or what is left of it.

        Raises:
            WireFault: refused, or held.

        """
        for guard in self._guards:
            answer = await self._ask(answer, guard.after, call, answer)
        return answer

    async def event(self, call: WireCall, event: Proto) -> Proto:
        """Return an event of a stream, or what is left of it.

        Raises:
            WireFault: refused, or held.

        """
        for guard in self._guards:
            event = await self._ask(event, guard.event, call, event)
        return event

    async def _ask(
        self, shown: Proto, ask: Callable[..., Awaitable[Verdict]], *given: object
    ) -> Proto:
        try:
            with anyio.fail_after(self._timeout_s):
                verdict = await ask(*given)
        except Exception as error:  # noqa: BLE001 - a crash of a guard is a refusal
            log.warning("guard.failed", extra={"error": type(error).__name__})
            raise _no("A guard could not judge the call.", detail=type(error).__name__) from None
        return _settled(verdict, shown)


def _settled(verdict: object, shown: Proto) -> Proto:
    match verdict:
        case Allow():
            return shown
        case Redact(value=value) if type(value) is type(shown):
            return value
        case Hold(approval=approval, reason=reason, retry_after_s=retry_after_s):
            raise WireFault(
                BUSY,
                reason,
                retry_after_s=float(max(1, math.ceil(retry_after_s))),
                metadata={"check": str(Stage.GUARD), "approval": approval},
            )
        case Refuse(reason=reason):
            raise _no(reason, detail="refused")
        case _:
            raise _no("A guard could not judge the call.", detail="no verdict")


def redacted(value: Proto, judge: Callable[[Proto], Proto | None]) -> Proto:
    """Return a copy of a request, answer or event where every part is what `judge` makes of it.

    `judge` gets a part of its own to change and returns it, another one, or None to take it out.
    """
    copy = type(value)()
    copy.CopyFrom(value)
    for parts in parts_lists(copy):
        kept = [made for made in map(judge, list(parts)) if made is not None]
        owned = [type(one).FromString(one.SerializeToString()) for one in kept]
        del parts[:]
        parts.extend(owned)
    return copy


def parts_lists(value: Proto) -> Iterator[Any]:
    """Yield every list of parts in a request, answer or event: of messages, artifacts and histories."""
    fields = value.DESCRIPTOR.fields_by_name
    if "parts" in fields:
        yield value.parts
    for name in ("message", "artifact", "task", "status", "status_update", "artifact_update"):
        if name in fields and value.HasField(name):
            yield from parts_lists(getattr(value, name))
    for name in ("artifacts", "history", "tasks"):
        if name in fields:
            yield from _parts_of_all(getattr(value, name))


def _parts_of_all(values: Iterable[Proto]) -> Iterator[Any]:
    for one in values:
        yield from parts_lists(one)


def _no(told: str, *, detail: str) -> WireFault:
    return refused_by(str(Stage.GUARD), told, detail=detail)
