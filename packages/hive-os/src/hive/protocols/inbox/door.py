"""The door on the bus: envelopes in, calls to the gate, sealed replies and signed status out.

What does not verify is counted and gets no answer: an answer would tell a stranger that somebody listens,
and would go wherever the stranger says.
"""

import logging
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import anyio
from anyio.abc import TaskGroup, TaskStatus

from hive.core.call import EffectClass, Principal, Refused, Verb, sha256_hex
from hive.core.clock import Clock
from hive.core.errors import (
    BadInputError,
    ConflictError,
    EngineError,
    HiveError,
    IdentityError,
    InvalidIdError,
    NotFoundError,
    StateError,
)
from hive.core.ids import AgentId, TaskId
from hive.core.randomness import Randomness
from hive.engines.ports import Bus, BusMessage, KeyValue
from hive.kernel.ports import Agents, AgentState, Attempt, Delivery, Gate
from hive.mesh import Envelope, NodeKeys, Peers, SubjectKind, open_envelope, parse_subject
from hive.mesh.envelope import CLOCK_SKEW_S, LIFETIME_MAX_S
from hive.mesh.subjects import TASK_WORKERS, agent_inbox, task_queue
from hive.protocols.inbox.body import read_call, write_refusal, write_reply
from hive.protocols.inbox.callers import call_facts, principal_of
from hive.protocols.inbox.replies import ReplySender
from hive.protocols.inbox.status import StatusPublisher
from hive.protocols.inbox.warrants import Verify, warrant_in

log = logging.getLogger(__name__)
BUCKET: Final = "hive-inbox"
IN_PROGRESS: Final = b"-"


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxLimits:
    """How much the inbox does at once, and for how long it remembers."""

    envelopes_at_once_max: int = 64
    pending_max: int = 1024
    reconcile_s: float = 2.0
    calls_kept_s: float = 3600.0


class InboxDoor:
    """Listen for the agents of this node on the bus.

    `nonces` is the key-value bucket named by `BUCKET`: it claims each envelope once, for all nodes and over
    restarts. `refused` counts what was turned away, by reason.
    """

    def __init__(
        self,
        *,
        bus: Bus,
        nonces: KeyValue,
        gate: Gate,
        agents: Agents,
        keys: NodeKeys,
        peers: Peers,
        clock: Clock,
        randomness: Randomness,
        limits: InboxLimits | None = None,
        verify: Verify | None = None,
    ) -> None:
        self._bus = bus
        self._nonces = nonces
        self._gate = gate
        self._agents = agents
        self._keys = keys
        self._peers = peers
        self._clock = clock
        self._limits = limits or InboxLimits()
        self._verify = verify
        self._replies = ReplySender(
            bus=bus, keys=keys, peers=peers, clock=clock, randomness=randomness
        )
        self._status = StatusPublisher(bus=bus, keys=keys, clock=clock)
        self._slots = anyio.Semaphore(self._limits.envelopes_at_once_max)
        self._refused: Counter[str] = Counter()
        self._listening: dict[str, anyio.CancelScope] = {}
        self._changed = anyio.Event()
        self._round = anyio.Event()

    @property
    def refused(self) -> Mapping[str, int]:
        """Return how many envelopes were turned away, by reason."""
        return dict(self._refused)

    @property
    def listening(self) -> frozenset[str]:
        """Return the subjects that the bus has confirmed."""
        return frozenset(self._listening)

    def agents_changed(self) -> None:
        """Look at once which agents there are, instead of at the next round."""
        self._changed.set()

    async def reconciled(self) -> None:
        """Wait until the next look at the agents is over."""
        await self._round.wait()

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        """Listen until the context ends; the first subscriptions stand when it is entered."""
        async with (
            AsyncExitStack() as stack,
            self._status.publishing(),
            anyio.create_task_group() as tasks,
        ):
            stack.callback(self._gate.on_change(self._status.observe))
            await self._reconcile(tasks)
            tasks.start_soon(self._keep_reconciled, tasks)
            try:
                yield
            finally:
                tasks.cancel_scope.cancel()

    async def _keep_reconciled(self, tasks: TaskGroup) -> None:
        while True:
            with anyio.move_on_after(self._limits.reconcile_s):
                await self._changed.wait()
            self._changed = anyio.Event()
            try:
                await self._reconcile(tasks)
            except EngineError as error:
                log.warning("inbox.bus_away", extra={"code": error.code})
            self._round.set()
            self._round = anyio.Event()

    async def _reconcile(self, tasks: TaskGroup) -> None:
        wanted = self._subjects()
        for subject in self._listening.keys() - wanted.keys():
            self._listening.pop(subject).cancel()
        for subject in wanted.keys() - self._listening.keys():
            await tasks.start(self._listen, subject, wanted[subject])

    def _subjects(self) -> dict[str, str]:
        """Return subject and queue group of everything that agents of this node wait for."""
        wanted: dict[str, str] = {}
        for view in self._agents.all():
            wanted[agent_inbox(view.spec.name)] = ""
            for skill in view.spec.skills:
                try:
                    wanted[task_queue(skill.id)] = TASK_WORKERS
                except InvalidIdError:
                    continue  # a skill whose id is no name is reached by the agent's own inbox
        return wanted

    async def _listen(self, subject: str, queue: str, *, task_status: TaskStatus[None]) -> None:
        with anyio.CancelScope() as scope:
            async with (
                self._bus.subscribe(
                    subject, queue=queue, pending_max=self._limits.pending_max
                ) as messages,
                anyio.create_task_group() as handlers,
            ):
                self._listening[subject] = scope
                task_status.started()
                async for message in messages:
                    # Taken before the next is read: a flood waits in the bounded subscription.
                    await self._slots.acquire()
                    handlers.start_soon(self._handle, subject, message)
        if self._listening.get(subject) is scope:
            del self._listening[subject]

    async def _handle(self, subject: str, message: BusMessage) -> None:
        try:
            opened = await self._open(subject, message)
            if opened is None:
                return
            envelope, body = opened
            delivery = await self._admit(subject, message, envelope, body)
        except HiveError as error:
            self._count("failed", error)
            return
        except Exception:  # one envelope must not end the door
            log.exception("inbox.failed", extra={"subject": subject})
            return
        finally:
            self._slots.release()
        if delivery is not None:
            await self._settle(message, envelope, delivery)

    async def _open(self, subject: str, message: BusMessage) -> tuple[Envelope, bytes] | None:
        """Return an envelope that is authentic, in time, for this place, and new."""
        now = self._clock.now()
        try:
            envelope, body = open_envelope(
                message.data, subject=subject, keys=self._keys, peers=self._peers, now=now
            )
        except (BadInputError, IdentityError) as error:
            self._count("stranger", error)
            return None
        left_s = (envelope.expires - now) / timedelta(seconds=1) + CLOCK_SKEW_S
        key = "nonce-" + sha256_hex(f"{envelope.sender}\0{envelope.nonce}".encode())
        try:
            await self._nonces.create(key, b"1", ttl_s=left_s)
        except ConflictError as error:
            self._count("replayed", error)
            return None
        return envelope, body

    async def _admit(
        self, subject: str, message: BusMessage, envelope: Envelope, body: bytes
    ) -> Delivery | None:
        principal = principal_of(envelope, own=self._keys.node)
        call_key = "call-" + sha256_hex(f"{envelope.sender}\0{envelope.call_id}".encode())
        if not await self._claim_call(call_key):
            await self._repeat(message, envelope, principal, call_key)
            return None
        try:
            sent = await self._send(subject, envelope, principal, body)
        except (NotFoundError, StateError, BadInputError, InvalidIdError) as error:
            sent = Refused(check=error.code, reason=error.what)
        if isinstance(sent, Refused):
            await self._nonces.delete(call_key)
            await self._replies.send(message, envelope, write_refusal(envelope.call_id, sent))
            return None
        await self._nonces.put(call_key, sent.task.id.encode(), ttl_s=self._limits.calls_kept_s)
        return sent

    async def _claim_call(self, call_key: str) -> bool:
        """Tell whether this attempt of a call is the first; a second one starts nothing new."""
        try:
            await self._nonces.create(call_key, IN_PROGRESS, ttl_s=LIFETIME_MAX_S + CLOCK_SKEW_S)
        except ConflictError:
            return False
        return True

    async def _repeat(
        self, message: BusMessage, envelope: Envelope, principal: Principal, call_key: str
    ) -> None:
        """Answer a further attempt with the task that the first one made."""
        known = await self._nonces.get(call_key)
        try:
            if known is None or known.value == IN_PROGRESS:
                no = Refused(check="repeat", reason="it is being accepted", retry_after_s=1.0)
                answer = write_refusal(envelope.call_id, no)
            else:
                task = await self._gate.task(principal, TaskId(known.value.decode()))
                answer = write_reply(envelope.call_id, task)
        except NotFoundError as error:
            answer = write_refusal(envelope.call_id, Refused(check=error.code, reason=error.what))
        await self._replies.send(message, envelope, answer)

    async def _send(
        self, subject: str, envelope: Envelope, principal: Principal, body: bytes
    ) -> Refused | Delivery:
        agent = self._choose(subject)
        warrant = warrant_in(envelope, self._peers, self._verify)
        if isinstance(warrant, Refused):
            return warrant
        attempt = Attempt(
            principal=principal,
            verb=Verb.SEND,
            target=agent,
            effect=EffectClass.IDEMPOTENT,
            arguments=body,
            size_bytes=len(body),
            traceparent=envelope.traceparent,
            facts=call_facts(envelope),
            warrant=warrant,
        )
        return await self._gate.send(attempt, agent, read_call(body))

    def _choose(self, subject: str) -> AgentId:
        place = parse_subject(subject)
        if place.kind is SubjectKind.INBOX:
            return AgentId(place.name)
        able = [
            view
            for view in self._agents.all()
            if view.state is AgentState.READY
            and any(skill.id == place.name for skill in view.spec.skills)
        ]
        if not able:
            raise NotFoundError("No agent of this node has that capability now.")
        return min(able, key=lambda view: (view.turns_waiting, view.turns_running)).spec.name

    async def _settle(self, message: BusMessage, envelope: Envelope, delivery: Delivery) -> None:
        """Answer when the task was accepted or, where the sender asked for it, when it settled."""
        try:
            task = delivery.task
            if envelope.answer == "settled" and message.reply:
                left = envelope.expires - self._clock.now()
                with anyio.move_on_after(max(0.0, left / timedelta(seconds=1))):
                    task = await delivery.settled()
            await self._replies.send(message, envelope, write_reply(envelope.call_id, task))
        except HiveError as error:
            log.warning("inbox.reply_failed", extra={"code": error.code})

    def _count(self, reason: str, error: HiveError) -> None:
        self._refused[reason] += 1
        # The first and every hundredth: strangers cannot flood the log.
        if self._refused[reason] % 100 == 1:
            log.warning(
                "inbox.refused",
                extra={"reason": reason, "why": error.why, "count": self._refused[reason]},
            )
