"""Foreign nodes: whom this node knows on the bus, and the operator's hand on that."""

import threading
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

from anyio import to_thread
from anyio.abc import TaskGroup

from hive.core.ids import NodeId
from hive.core.json import Json
from hive.mesh import NodeKeys, PeerKeys
from hive.node.kernel_parts import Ground
from hive.node.state import StateFolder
from hive.security.identity.registration import (
    Answering,
    Challenges,
    ForeignNode,
    NodeRegistrar,
)
from hive.security.roles import acting_operator
from hive.web.nodes import (
    AnswerMade,
    AnswerOrder,
    ChallengeMade,
    ChallengeOrder,
    ForeignNodeLine,
    NodesDesk,
    QualifierMade,
    RegisterOrder,
)


class KnownPeers:
    """This node itself, and every foreign node that was registered; looked up anew for each envelope."""

    def __init__(self, own: PeerKeys, registrar: NodeRegistrar) -> None:
        self._own = own
        self._registrar = registrar

    def get(self, node: NodeId) -> PeerKeys | None:
        """Return a node's keys, or None for a stranger."""
        if node == self._own.node:
            return self._own
        found = self._registrar.get(node)
        if found is None:
            return None
        return PeerKeys(node=NodeId(found.node), signing=found.signing, sealing=found.sealing)


class NodeNodes(NodesDesk):
    """The foreign nodes of one node; `note` writes an event."""

    def __init__(
        self,
        registrar: NodeRegistrar,
        answering: Answering,
        note: Callable[[str, dict[str, Json]], Awaitable[None]],
    ) -> None:
        self._registrar = registrar
        self._answering = answering
        self._note = note

    async def lines(self) -> Sequence[ForeignNodeLine]:
        """Tell who is known, by id."""
        return [_line(one) for one in self._registrar.all()]

    async def challenge(self, order: ChallengeOrder) -> ChallengeMade:
        """Make a challenge."""
        made = self._registrar.challenge(order.node)
        return ChallengeMade(
            challenge=made.text,
            bits=made.bits,
            tpm=made.tpm,
            ends_at=datetime.fromtimestamp(made.ends_at, UTC),
        )

    async def qualifier(self, order: AnswerOrder) -> QualifierMade:
        """Tell what a quote has to carry."""
        return QualifierMade(qualifier=self._answering.qualifier(order.challenge).hex())

    async def answer(self, order: AnswerOrder) -> AnswerMade:
        """Answer a challenge of another node; the work ends with whoever asked for it."""
        wanted = threading.Event()
        wanted.set()

        def work() -> str:
            return self._answering.answer(
                order.challenge,
                quote=order.quote,
                quote_signature=order.quote_signature,
                goes_on=wanted.is_set,
            ).text

        try:
            return AnswerMade(answer=await to_thread.run_sync(work, abandon_on_cancel=True))
        finally:
            wanted.clear()

    async def register(self, order: RegisterOrder) -> ForeignNodeLine:
        """Make a node known; who did is on the record."""
        made = await self._registrar.register(order.answer, by=str(acting_operator()))
        await self._note("node.registered", {"node": made.node, "machine": made.machine_name})
        return _line(made)

    async def remove(self, node: str) -> ForeignNodeLine:
        """Know a node no longer."""
        gone = await self._registrar.remove(node)
        await self._note("node.removed", {"node": gone.node})
        return _line(gone)


async def open_registrar(tasks: TaskGroup, ground: Ground, state: StateFolder) -> NodeRegistrar:
    """Open the book of foreign nodes, which follows the database as long as the tasks run. Raises ConfigError."""
    registrar = NodeRegistrar(
        database=ground.database,
        challenges=Challenges(
            host=state.node_id,
            master_key=state.master_key,
            clock=ground.clock,
            randomness=ground.randomness,
        ),
        clock=ground.clock,
        host=state.node_id,
        bits=ground.settings.node_work_bits,
        machines=ground.settings.node_machines,
    )
    await registrar.load()
    tasks.start_soon(registrar.watch)
    return registrar


def answering_of(state: StateFolder) -> Answering:
    """Return what answers challenges with a node's keys."""
    keys = NodeKeys(node=state.node_id, signing=state.signing_seed, sealing=state.sealing_seed)
    public = keys.public
    return Answering(
        node=keys.node, signing=keys.signing, public=public.signing, sealing=public.sealing
    )


def _line(one: ForeignNode) -> ForeignNodeLine:
    return ForeignNodeLine(
        node=one.node,
        signing=one.signing.hex(),
        bits=one.bits,
        machine=one.machine_name,
        at=one.at,
        by=one.by,
    )
