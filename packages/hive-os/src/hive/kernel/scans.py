"""The guard at the gate: what leaves is looked at, what came in is remembered as a signal, known values never pass.

Three answers. A value that may never leave (a key of the vault, the node's own, the handle of the calling sandbox) is
a refusal. What the operator wants taken out is owed as a redaction, done by the door on the way out. All else is a
number beside the call in the ledger, and above the operator's threshold a person is asked.

What tools and hosts answered is scanned when the task makes its next call, not while the answer passes: nobody waits
for a scanner except whoever wants to act on what it read.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import anyio
import anyio.to_thread

from hive.core.call import (
    Call,
    EffectClass,
    Obligation,
    ObligationKind,
    PrincipalKind,
    Refused,
    Verb,
)
from hive.core.ids import CallId, SandboxId, TaskId, plain_text
from hive.kernel.checks import Finding
from hive.kernel.ports import CallFacts
from hive.kernel.turns import RunningTurn
from hive.security.guardrails import (
    Direction,
    KnownValues,
    Leak,
    Leaks,
    RedactionWish,
    Scanner,
    ScanReport,
    Views,
)
from hive.security.guardrails.redaction import sensitive_kinds

NAME: Final = "guard"
HEARD_MAX_CHARS: Final = 1 << 16
HEARD_MAX: Final = 8
TASKS_MAX: Final = 4096
HANDLES_MAX: Final = 1024
TOLD_MIN: Final = 0.3
LARGE_BYTES: Final = 1 << 17
INWARD_KINDS: Final = ("injection", "hidden")
_PLACES: Final = {Verb.ASK: "models", Verb.INVOKE: "tools", Verb.SEND: "agents"}
_ACTS: Final = frozenset({Verb.INVOKE, Verb.REACH, Verb.SEND})


@dataclass(slots=True)
class _Heard:
    """What a task has read and nobody has scanned yet, and how suspicious the rest was."""

    waiting: list[tuple[str, str]] = field(default_factory=list)
    dropped: int = 0
    score: float = 0.0
    source: str = ""
    scanning: anyio.Lock = field(default_factory=anyio.Lock)


async def _nothing() -> KnownValues:
    return KnownValues({})


class Scans:
    """Keeps the signals of running tasks and answers what they say of a call; asked as the check `guard`.

    `known` gives the values that may never leave; the node sets it when its vault is open.
    """

    name = NAME

    def __init__(
        self,
        *,
        scanner: Scanner | None,
        wish: RedactionWish,
        approve_above: float,
        handle_of: Callable[[SandboxId], str],
    ) -> None:
        self._scanner = scanner
        self._wish = wish
        self._approve_above = approve_above
        self._handle_of = handle_of
        self.known: Callable[[], Awaitable[KnownValues]] = _nothing
        self._handles: OrderedDict[str, KnownValues] = OrderedDict()
        self._leaks = Leaks()
        self._aside: dict[CallId, bytes] = {}
        self._heard: OrderedDict[TaskId, _Heard] = OrderedDict()

    def hear(self, call: Call, frames: Sequence[bytes] | None, turn: RunningTurn | None) -> None:
        """Remember what came back for a call, for the task and for whoever waits for it."""
        if self._scanner is None or turn is None or call.verb not in (Verb.INVOKE, Verb.REACH):
            return
        whole = b"".join(frames or ()).decode("utf-8", "replace")
        text = whole[:HEARD_MAX_CHARS]
        for task in (turn.task, *turn.ancestor_tasks):
            heard = self._of(task)
            if not text or len(heard.waiting) >= HEARD_MAX:
                heard.dropped += 1
            else:
                heard.waiting.append((call.target, text))
                heard.dropped += 1 if len(whole) > len(text) else 0

    @contextmanager
    def beside(self, call: Call, aside: bytes) -> Iterator[None]:
        """Look at what leaves beside the arguments of a call as well, while it is judged."""
        if not aside:
            yield
            return
        self._aside[call.id] = aside
        try:
            yield
        finally:
            self._aside.pop(call.id, None)

    async def examine(self, call: Call, facts: CallFacts) -> Finding:
        """Refuse known values; owe redaction and a person's yes; tell the rest."""
        if call.principal.kind is not PrincipalKind.AGENT:
            return None
        arguments = facts.arguments
        leak = await self._leak(call, facts)
        if leak is not None:
            how = "in pieces" if leak.pieces else "in it"
            return Refused(
                check=self.name,
                reason=f"a secret of this node stands {how}, and none may leave",
                detail=f"{plain_text(leak.name)} as {leak.form}",
            )
        owed: list[Obligation] = []
        kinds = self._wish.towards(_PLACES.get(call.verb, ""))
        if kinds and (found := sensitive_kinds(arguments.document, arguments.raw, kinds)):
            owed.append(self._owe(ObligationKind.REDACT, ",".join(sorted(found))))
        if self._scanner is not None and call.verb in _ACTS:
            owed += await self._signals(self._scanner, call, facts)
        return tuple(owed)

    async def _leak(self, call: Call, facts: CallFacts) -> Leak | None:
        known = [one for one in (await self.known(), self._handle(call)) if one]
        if not known:
            return None
        caller = f"{call.principal.owner} {call.principal.name}"

        document, raw = facts.arguments.document, facts.arguments.raw
        beside = (call.target.encode(), self._aside.get(call.id, b""))
        rest = b" ".join((*beside, raw) if document is None else beside)

        def look() -> Leak | None:
            return self._leaks.look(caller, Views.of(document, rest), known)

        if len(raw) + len(rest) <= LARGE_BYTES:
            return look()
        return await anyio.to_thread.run_sync(look)

    def _handle(self, call: Call) -> KnownValues:
        sandbox = call.principal.sandbox
        handle = "" if sandbox is None else self._handle_of(sandbox)
        known = self._handles.get(handle)
        if known is None:
            known = KnownValues({"the handle of this sandbox": handle} if handle else {})
            self._handles[handle] = known
            if len(self._handles) > HANDLES_MAX:
                self._handles.popitem(last=False)
        return known

    async def _signals(self, scanner: Scanner, call: Call, facts: CallFacts) -> list[Obligation]:
        """Return what the scanner says of what leaves, and of what the task has read so far."""
        raw = facts.arguments.raw.decode("utf-8", "replace")[:HEARD_MAX_CHARS]
        report = await self._scan(scanner, raw, Direction.OUTWARD, call.target)
        told = [f"{kind} {score:.2f}" for kind, score in report.kinds.items() if score >= TOLD_MIN]
        if call.verb is Verb.SEND:
            inward = await self._scan(scanner, raw, Direction.INWARD, call.target)
            told += [f"asks {inward.score(*INWARD_KINDS):.2f}"] if inward.score("injection") else []
        told += [f"no signal: {report.missing}"] if report.missing else []
        heard = await self._scanned(scanner, call.task)
        if heard.score >= TOLD_MIN:
            told.append(f"read {heard.score:.2f} from {heard.source}")
        if heard.dropped:
            told.append(f"{heard.dropped} answers not scanned")
        owed = [self._owe(ObligationKind.RECORD_FULL, plain_text("; ".join(told)))] if told else []
        asks = 0 < self._approve_above <= heard.score and call.effect is not EffectClass.PURE
        if asks:
            why = f"what the task read from {heard.source} looks like orders ({heard.score:.2f})"
            owed.append(self._owe(ObligationKind.APPROVAL, plain_text(why)))
        return owed

    async def _scanned(self, scanner: Scanner, task: TaskId | None) -> _Heard:
        if task is None:
            return _Heard()
        heard = self._of(task)
        # Calls that are made side by side wait for one another: each is judged by all that was read before it.
        async with heard.scanning:
            while heard.waiting:
                source, text = heard.waiting[0]
                report = await self._scan(scanner, text, Direction.INWARD, source)
                del heard.waiting[0]  # a scan that was cut off leaves it to the next call
                heard.dropped += 1 if report.missing else 0
                score = report.score(*INWARD_KINDS)
                if score > heard.score:
                    heard.score, heard.source = score, source
        return heard

    async def _scan(
        self, scanner: Scanner, text: str, direction: Direction, source: str
    ) -> ScanReport:
        """Ask a scanner; one that breaks its word and raises is a missing signal like any other."""
        try:
            return await scanner.scan(text, direction, source)
        except Exception as error:  # noqa: BLE001, a signal is not a gate: its crash refuses nothing
            return ScanReport(missing=f"the scanner failed ({type(error).__name__})")

    def _of(self, task: TaskId) -> _Heard:
        heard = self._heard.setdefault(task, _Heard())
        self._heard.move_to_end(task)
        while len(self._heard) > TASKS_MAX:
            self._heard.popitem(last=False)
        return heard

    def _owe(self, kind: ObligationKind, detail: str) -> Obligation:
        return Obligation(kind=kind, check=self.name, detail=detail[:500])


def redactions_of(obligations: Sequence[Obligation]) -> frozenset[str]:
    """Return the kinds that have to be taken out of a call; an obligation that names none means secrets."""
    return frozenset(
        kind.strip()
        for one in obligations
        if one.kind is ObligationKind.REDACT
        for kind in (one.detail or "secret").split(",")
    )
