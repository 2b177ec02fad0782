"""The relationships of a node: opened when they are first asked for, asked by the policy, commanded by an operator."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Final

import anyio

from hive.core.clock import Clock
from hive.core.errors import HiveError
from hive.core.json import Json
from hive.core.settings import Settings
from hive.engines.ports import Database
from hive.kernel.policies import Policies
from hive.kernel.record import event
from hive.node.kernel_parts import Ground
from hive.security.relations import (
    RelationBook,
    RelationChange,
    RelationDecision,
    RelationFilter,
    RelationOpening,
    Relationship,
)
from hive.security.relations.drivers import RELATIONS
from hive.security.relations.dsl_json import read_model
from hive.security.relations.ports import RelationEmit
from hive.security.roles import acting_operator
from hive.web.relations import (
    RelatedView,
    RelationAnswer,
    RelationAsked,
    RelationDesk,
    RelationLine,
    RelationModelView,
    RelationWriteOrder,
    RelationWritten,
)

FAILURE_PAUSE_S: Final = 3.0


class LateRelations:
    """Relationships that nobody asks for cost nothing, and a server that is away stops no start."""

    def __init__(
        self,
        stack: AsyncExitStack,
        settings: Settings,
        database: Database,
        emit: RelationEmit,
        clock: Clock,
    ) -> None:
        RELATIONS.row(settings.relations_url)
        self._stack = stack
        self._opening = RelationOpening(
            url=settings.relations_url, database=database, timeout_s=settings.relations_timeout_s
        )
        self._emit = emit
        self._lock = anyio.Lock()
        self._clock = clock
        self._book: RelationBook | None = None
        self._failed: tuple[float, HiveError] | None = None

    async def check(self, asked: Relationship, *, at: str = "") -> RelationDecision:
        """Tell whether a relation holds. Raises what opening and asking raise."""
        return await (await self.book()).check(asked, at=at)

    async def book(self) -> RelationBook:
        """Return the relationships, opened. Raises ConfigError, EngineError."""
        if self._book is not None:
            return self._book
        async with self._lock:
            return await self._open()

    async def _open(self) -> RelationBook:
        if self._book is not None:
            return self._book
        # Whoever waited behind a failure would only wait for another one.
        if self._failed and self._clock.monotonic() - self._failed[0] < FAILURE_PAUSE_S:
            raise self._failed[1]
        try:
            driver = RELATIONS.load(self._opening.url)
            opened = await self._stack.enter_async_context(driver.open(self._opening))
        except HiveError as error:
            self._failed = self._clock.monotonic(), error
            raise
        self._book = RelationBook(opened, emit=self._emit)
        return self._book


def open_relations(stack: AsyncExitStack, ground: Ground, policies: Policies) -> LateRelations:
    """Return the relationships of a node, and let its policy ask them; what changes is written to the ledger."""

    async def emit(name: str, body: dict[str, Json]) -> None:
        await ground.writer.append(event(name, body, clock=ground.clock))

    policies.relations = late = LateRelations(
        stack, ground.settings, ground.database, emit, ground.clock
    )
    return late


class NodeRelations(RelationDesk):
    """The relationships of one node."""

    def __init__(self, late: LateRelations) -> None:
        self._late = late

    async def lines(self, of: str, relation: str, subject: str) -> Sequence[RelationLine]:
        """List what is written down."""
        wanted = RelationFilter(object=of, relation=relation, subject=subject)
        return [
            RelationLine(object=one.object, relation=one.relation, subject=one.subject)
            for one in await (await self._late.book()).tuples(wanted)
        ]

    async def write(self, order: RelationWriteOrder) -> RelationWritten:
        """Add and remove. Raises BadInputError, ConflictError."""
        change = RelationChange(
            added=_several(order.added),
            removed=_several(order.removed),
            present=_several(order.present),
            absent=_several(order.absent),
            at=order.at,
        )
        book = await self._late.book()
        return RelationWritten(revision=await book.write(change, by=str(acting_operator())))

    async def check(self, asked: RelationAsked) -> RelationAnswer:
        """Answer a question. Raises BadInputError."""
        question = Relationship(asked.object, asked.relation, asked.subject)
        return _answer(await self._late.check(question, at=asked.at))

    async def explain(self, asked: RelationAsked) -> RelationAnswer:
        """Answer a question and tell why. Raises BadInputError."""
        question = Relationship(asked.object, asked.relation, asked.subject)
        found = await (await self._late.book()).explain(question)
        return _answer(found.decision, found.lines)

    async def related(self, kind: str, relation: str, subject: str) -> RelatedView:
        """List objects that somebody has a relation to. Raises BadInputError."""
        found = await (await self._late.book()).objects(kind, relation, subject)
        return RelatedView(objects=found.objects, complete=found.complete, revision=found.revision)

    async def model(self) -> RelationModelView:
        """Return the model."""
        return RelationModelView(model=await (await self._late.book()).model())

    async def names(self) -> Sequence[str]:
        """List the relations of the model as `type#relation`."""
        text = await (await self._late.book()).model()
        types = read_model(text).types if text else {}
        return [f"{kind}#{name}" for kind, relations in types.items() for name in relations]

    async def load_model(self, order: RelationModelView) -> RelationModelView:
        """Let a model count. Raises BadInputError."""
        book = await self._late.book()
        revision = await book.load_model(order.model, by=str(acting_operator()))
        return RelationModelView(model=await book.model(), revision=revision)


def _several(lines: Sequence[RelationLine]) -> tuple[Relationship, ...]:
    return tuple(Relationship(one.object, one.relation, one.subject) for one in lines)


def _answer(found: RelationDecision, lines: Sequence[str] = ()) -> RelationAnswer:
    return RelationAnswer(
        allowed=found.allowed, revision=found.revision, fault=found.fault, lines=tuple(lines)
    )
