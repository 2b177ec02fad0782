"""The router: all providers of a node as one `Upstream`, changeable while questions are under way."""

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeAlias

import anyio
from anyio.abc import TaskStatus

from hive.core.clock import Clock
from hive.core.errors import HiveError, NotFoundError
from hive.core.randomness import Randomness
from hive.protocols.models.ports import Dialect, ModelRequest, Upstream
from hive.protocols.models.routing.answers import RoutedModelAnswer, WholeAnswer
from hive.protocols.models.routing.live import LiveUpstream
from hive.protocols.models.routing.question import RoutedQuestion
from hive.protocols.models.routing.registry import (
    DEFAULT_NAME,
    RouteRow,
    UpstreamRow,
    missing_upstream,
)
from hive.protocols.models.routing.retry import RetryBudget
from hive.protocols.models.routing.table import RouteTable, RouteTarget

log: Final = logging.getLogger(__name__)
LIST_TIMEOUT_S: Final = 5.0
MODELS_MAX: Final = 5000
RETIRE_S: Final = 900.0
OpenUpstream: TypeAlias = Callable[[UpstreamRow], AbstractAsyncContextManager[Upstream]]
"""Open one provider with its key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamState:
    """How one provider does, for people."""

    row: UpstreamRow
    trusted: bool
    problem: str
    breaker: str
    rest_s: float
    dialects: frozenset[Dialect]
    models: tuple[str, ...]
    under_way: int
    waiting: int
    answered: int
    failed: int
    first_byte_ms: float | None


class ModelRouter:
    """Ask whoever a model's name leads to. Open it with `running`."""

    def __init__(self, *, open_one: OpenUpstream, clock: Clock, randomness: Randomness) -> None:
        self._open_one = open_one
        self._clock = clock
        self._randomness = randomness
        self._budget = RetryBudget(clock=clock)
        self._table = RouteTable(upstreams={})
        self._tasks = anyio.create_task_group()
        self.dialects: frozenset[Dialect] = frozenset(Dialect)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["ModelRouter"]:
        """Hold the providers; leaving the context closes all of them."""
        async with self._tasks:
            try:
                yield self
            finally:
                self._tasks.cancel_scope.cancel()

    @asynccontextmanager
    async def ask(self, request: ModelRequest) -> AsyncIterator[RoutedModelAnswer | WholeAnswer]:
        """Ask for a model; see `RoutedQuestion` for what happens when somebody does not answer.

        Raises:
            EngineError: nobody could be reached.
            UntranslatableError: the request cannot be said in the provider's wire.

        """
        self._budget.deposit()
        question = RoutedQuestion(
            request,
            self._table.resolve(request.model),
            budget=self._budget,
            clock=self._clock,
            randomness=self._randomness,
        )
        found = await question.answered()
        async with found.stack:
            yield found.answer

    async def models(self) -> Sequence[str]:
        """Return the routes' names and each provider's models, with its name before them where there are more."""
        table = self._table
        await self._learn_all(list(table.upstreams.values()))
        several = len(table.upstreams) > 1
        names = list(table.names())
        for live in table.upstreams.values():
            plain = not several or live.name == DEFAULT_NAME
            names += [model if plain else f"{live.name}/{model}" for model in live.known]
        return list(dict.fromkeys(names))[:MODELS_MAX]

    def resolve(self, model: str) -> Sequence[RouteTarget]:
        """Return whom a model's name leads to, in order."""
        return self._table.resolve(model)

    def states(self) -> Sequence[UpstreamState]:
        """Describe all providers from memory."""
        return [_state_of(live) for live in self._table.upstreams.values()]

    def routes(self) -> Sequence[RouteRow]:
        """Return the routes."""
        return self._table.routes

    def live(self, name: str) -> LiveUpstream:
        """Return one provider.

        Raises:
            NotFoundError: there is none of that name.

        """
        found = self._table.upstreams.get(name)
        if found is None:
            raise missing_upstream(name)
        return found

    async def add(self, row: UpstreamRow, *, trusted: bool = True, strict: bool = True) -> None:
        """Open a provider and ask it from now on; in place of one of the same name.

        Questions that are under way keep the one that they have.

        Raises:
            HiveError: it cannot be opened; only with `strict`, else it is kept with its problem.

        """
        live = LiveUpstream.of(row, clock=self._clock, randomness=self._randomness, trusted=trusted)
        await self._tasks.start(self._host, live, strict)
        before = self._table.upstreams.get(row.name)
        self._swap(upstreams={**self._table.upstreams, row.name: live})
        if before is not None:
            before.retire()

    def remove(self, name: str) -> None:
        """Ask a provider no more; it is closed when its last question ended.

        Raises:
            NotFoundError: there is none of that name.

        """
        live = self.live(name)
        rest = {key: one for key, one in self._table.upstreams.items() if key != name}
        self._swap(upstreams=rest)
        live.retire()

    def use(self, routes: Sequence[RouteRow]) -> None:
        """Lead names to where these routes say, from now on.

        Raises:
            NotFoundError: a route leads to a provider that is not there.

        """
        for route in routes:
            self.check(route)
        self._swap(routes=tuple(routes))

    def check(self, route: RouteRow) -> None:
        """Look whether the providers of a route are there.

        Raises:
            NotFoundError: one is not.

        """
        for target in route.targets:
            name = target.partition("/")[0]
            if name not in self._table.upstreams:
                raise NotFoundError(
                    f"There is no model provider {name[:100]!r}.",
                    why=f"The route {route.alias!r} would lead there.",
                    fix="hive llm list     shows the providers",
                )

    def restore(self, routes: Sequence[RouteRow]) -> None:
        """Take routes that were kept, whatever they lead to."""
        self._swap(routes=tuple(routes))

    async def learn(self, live: LiveUpstream) -> None:
        """Ask a provider for its models, and keep their names."""
        if live.upstream is None:
            return
        try:
            with anyio.move_on_after(LIST_TIMEOUT_S):
                known = tuple(await live.upstream.models())
                if known != live.known:
                    live.known = known
                    self._swap()
        except HiveError as error:
            log.info("models.not_listed", extra={"upstream": live.name, "error": error.what})

    async def _learn_all(self, lives: Sequence[LiveUpstream]) -> None:
        async with anyio.create_task_group() as tasks:
            for live in lives:
                tasks.start_soon(self.learn, live)

    def _swap(
        self,
        *,
        upstreams: dict[str, LiveUpstream] | None = None,
        routes: tuple[RouteRow, ...] | None = None,
    ) -> None:
        before = self._table
        self._table = RouteTable(
            upstreams=before.upstreams if upstreams is None else upstreams,
            routes=before.routes if routes is None else routes,
        )

    async def _host(
        self,
        live: LiveUpstream,
        strict: bool,  # noqa: FBT001  task groups pass by position
        *,
        task_status: TaskStatus[None],
    ) -> None:
        """Keep one provider open until it is retired and its last question ended."""
        try:
            async with self._open_one(live.row) as upstream:
                live.upstream = upstream
                task_status.started()
                await live.retired.wait()
                with anyio.move_on_after(RETIRE_S):
                    await live.idle.wait()
        except Exception as error:  # one provider's driver must not end the others
            if live.upstream is not None:
                log.warning("models.not_closed", exc_info=True, extra={"upstream": live.name})
                return
            if strict:
                raise
            live.problem = str(error) if isinstance(error, HiveError) else type(error).__name__
            log.warning("models.not_opened", extra={"upstream": live.name, "error": live.problem})
            task_status.started()


def _state_of(live: LiveUpstream) -> UpstreamState:
    return UpstreamState(
        row=live.row,
        trusted=live.trusted,
        problem=live.problem,
        breaker=live.breaker.state,
        rest_s=max(live.breaker.rest_s, live.resting_s),
        dialects=live.spoken() if live.upstream is not None else frozenset(),
        models=live.known,
        under_way=live.slots.used,
        waiting=live.slots.waiting,
        answered=live.answered,
        failed=live.failed,
        first_byte_ms=live.first_byte_ms,
    )
