"""One question on its way: whom to ask next, and what to tell when nobody answers.

Another provider is asked when one cannot be reached, is slow, overloaded or out of order, before the first
byte of an answer has gone on; never after. The same one is asked again only where it certainly did no work.
"""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from typing import Final

import anyio

from hive.core.clock import Clock
from hive.core.errors import (
    EngineError,
    EngineTimeoutError,
    EngineUnavailableError,
    UntranslatableError,
)
from hive.core.randomness import Randomness
from hive.protocols.models.paths import COUNTS, ESTIMATED
from hive.protocols.models.ports import Dialect, ModelAnswer, ModelRequest
from hive.protocols.models.refusals import ModelError
from hive.protocols.models.routing.answers import (
    OpenAnswer,
    RoutedModelAnswer,
    WholeAnswer,
    read_error,
    renamed,
)
from hive.protocols.models.routing.breaker import jittered
from hive.protocols.models.routing.options import in_its_words
from hive.protocols.models.routing.retry import (
    RETRY_AFTER_MAX_S,
    RetryBudget,
    pause_s,
    retry_after_s,
)
from hive.protocols.models.routing.table import RouteTarget

AGAIN: Final = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
ELSEWHERE: Final = frozenset({401, 402, 403, 404})
NO_SUCH_PATH: Final = frozenset({404, 405, 501})
NOT_ITS_FAULT: Final = frozenset({409, 425, 429})
_INTO: Final = (Dialect.CHAT, Dialect.MESSAGES, Dialect.RESPONSES, Dialect.GEMINI)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoAnswer:
    """One try that gave none: what to tell, and whether the same provider may be asked again."""

    told: WholeAnswer | Exception
    again: bool = False
    elsewhere: bool = True
    after_s: float | None = None


class RoutedQuestion:
    """Ask for one request until somebody answers, the list ends or the budget of retries does."""

    def __init__(
        self,
        request: ModelRequest,
        plan: Sequence[RouteTarget],
        *,
        budget: RetryBudget,
        clock: Clock,
        randomness: Randomness,
    ) -> None:
        self._request = request
        self._plan = plan
        self._budget = budget
        self._clock = clock
        self._randomness = randomness
        self._unsure = 0
        self._counts_itself = False

    async def answered(self) -> OpenAnswer:
        """Return the first answer, or the last failure as an answer.

        Raises:
            EngineError: nobody could be reached.
            UntranslatableError: the request cannot be said in any provider's wire.

        """
        plan, round_number = list(self._plan), 0
        while True:
            found, again = await self._round(plan)
            if isinstance(found, OpenAnswer):
                return found
            round_number += 1
            wait_s = self._wait_s(round_number, again)
            if wait_s is None:
                return self._given_up(found)
            await anyio.sleep(wait_s)
            plan = [target for target, _ in again]

    async def _round(
        self, plan: Sequence[RouteTarget]
    ) -> tuple[OpenAnswer | NoAnswer, list[tuple[RouteTarget, NoAnswer]]]:
        last: NoAnswer | None = None
        again = []
        rested = [one for one in plan if not one.live.resting_s] or list(plan)
        for target in rested:
            found = await self._ask(target)
            if isinstance(found, OpenAnswer):
                return found, []
            last = found if last is None or not _is_resting(found) else last
            if found.again:
                again.append((target, found))
            if not found.elsewhere:
                break
        return last or NoAnswer(told=_nobody(self._request)), again

    def _wait_s(
        self, round_number: int, again: Sequence[tuple[RouteTarget, NoAnswer]]
    ) -> float | None:
        """Return how long to wait before the next round; None where there is none."""
        if not again or round_number >= max(one.live.row.options.tries_max for one, _ in again):
            return None
        asked = [none.after_s for _, none in again if none.after_s is not None]
        soonest = min(asked, default=None)
        if soonest is not None and soonest > RETRY_AFTER_MAX_S:
            return None
        if not self._budget.withdraw():
            return None
        return pause_s(round_number - 1, soonest, lambda s: jittered(s, self._randomness))

    def _given_up(self, found: NoAnswer) -> OpenAnswer:
        if isinstance(found.told, Exception):
            raise found.told
        found.told.unsure = self._unsure
        return OpenAnswer(answer=found.told, stack=AsyncExitStack())

    async def _ask(self, target: RouteTarget) -> OpenAnswer | NoAnswer:
        """Ask one provider once; twice where the first time showed that it does not speak the wire."""
        live = target.live
        try:
            live.opened()
        except EngineUnavailableError as error:
            return NoAnswer(told=error)
        if not await live.slots.acquire():
            return NoAnswer(told=_busy(target, self._request))
        if not live.breaker.admit():
            live.slots.release()
            return NoAnswer(told=_resting(target, self._request))
        live.began()
        stack = AsyncExitStack()
        stack.callback(live.ended)
        stack.callback(live.slots.release)
        kept = False
        try:
            found = await self._once(target, stack)
            if found is None:
                found = await self._once(target, stack) or NoAnswer(told=_nobody(self._request))
            kept = isinstance(found, OpenAnswer)
        except BaseException:
            live.breaker.abandoned()
            raise
        finally:
            if not kept:
                await stack.aclose()
        return found

    async def _once(
        self, target: RouteTarget, stack: AsyncExitStack
    ) -> OpenAnswer | NoAnswer | None:
        live, options = target.live, target.live.row.options
        began = self._clock.monotonic()
        try:
            with anyio.fail_after(min(options.first_byte_s, options.total_s)):
                answer = await stack.enter_async_context(self._sent(target))
            if answer.head.status >= 400:
                body = await read_error(answer, options.idle_s)
                return self._error(target, answer, body)
        except UntranslatableError as error:
            live.breaker.abandoned()
            return NoAnswer(told=error)
        except (EngineError, TimeoutError) as error:
            return self._broke(target, error)
        if answer.head.header(ESTIMATED):
            live.breaker.abandoned()
        else:
            live.breaker.succeeded()
            live.count_answer((self._clock.monotonic() - began) * 1000)
        routed = RoutedModelAnswer(
            answer,
            live=live,
            model=target.model,
            unsure=self._unsure,
            until=began + options.total_s,
        )
        return OpenAnswer(answer=routed, stack=stack)

    def _sent(self, target: RouteTarget) -> AbstractAsyncContextManager[ModelAnswer]:
        """Return the exchange: in the client's wire where the provider speaks it, translated where not."""
        live, request = target.live, renamed(self._request, target.model)
        upstream, spoken = live.opened(), live.spoken()
        limit_field = live.row.limit_field
        if request.dialect in spoken and not self._counts_itself:
            return upstream.ask(in_its_words(request, limit_field))
        into: Dialect | None = next((one for one in _INTO if one in spoken), None)
        if request.dialect is Dialect.EMBEDDINGS and Dialect.GEMINI in spoken:
            into = Dialect.GEMINI
        elif "embedcontent" in request.action.lower() and Dialect.EMBEDDINGS in spoken:
            into = Dialect.EMBEDDINGS
        if into is None:
            raise UntranslatableError(
                f"The model provider {live.name!r} does not speak this wire.",
                why="It speaks none into which the request could be translated.",
                fix="Route the model to another: hive llm use ALIAS UPSTREAM/MODEL",
            )
        from hive.protocols.models.translate import translated
        from hive.protocols.models.wires.chat import ChatWire

        named = into is Dialect.CHAT and limit_field
        provider = ChatWire(limit_field) if named else None
        return translated(upstream, request, into, provider=provider)

    def _error(self, target: RouteTarget, answer: ModelAnswer, body: bytes) -> NoAnswer | None:
        """Judge an error that the provider told; None where it only does not speak the wire."""
        live, status = target.live, answer.head.status
        live.failed += 1
        if status in NO_SUCH_PATH and _is_about_the_path(body):
            if self._request.action in COUNTS and not self._counts_itself:
                # Who speaks a wire may still not count: that says nothing about its other questions.
                self._counts_itself = True
                return None
            if self._other_wire(target):
                live.forget_wire(self._request.dialect)
                return None
        if status < 500 or status in NOT_ITS_FAULT:
            live.breaker.succeeded()
        else:
            live.breaker.failed()
        after_s = retry_after_s(answer.head, self._clock)
        if status in (429, 503, 529) and after_s is not None:
            live.rest(after_s)
        told = WholeAnswer.passed_on(answer.head, body, upstream=live.name, model=target.model)
        if status == 401:
            told = _key_refused(target, self._request)
        again = status in AGAIN
        return NoAnswer(
            told=told,
            again=again,
            elsewhere=again or status >= 500 or status in ELSEWHERE,
            after_s=after_s,
        )

    def _other_wire(self, target: RouteTarget) -> bool:
        others = target.live.spoken() - {self._request.dialect, Dialect.EMBEDDINGS}
        return self._request.dialect in target.live.spoken() and bool(others)

    def _broke(self, target: RouteTarget, error: Exception) -> NoAnswer:
        from hive.protocols.models.forward import never_sent

        live = target.live
        live.failed += 1
        live.breaker.failed()
        again = never_sent(error)
        self._unsure += not again
        told = error
        if not isinstance(error, EngineError):
            told = EngineTimeoutError("The model provider did not answer in time.")
        return NoAnswer(told=told, again=again)


def _is_about_the_path(body: bytes) -> bool:
    """Tell whether an error speaks of the path and not of a model that is missing."""
    return b"model" not in body[:4096].lower()


def _is_resting(found: NoAnswer) -> bool:
    return isinstance(found.told, WholeAnswer) and not found.told.upstream


def _busy(target: RouteTarget, request: ModelRequest) -> WholeAnswer:
    error = ModelError(
        status=429,
        code="hive.upstream_busy",
        message="Too many calls wait for this model provider. Try again soon.",
        retry_after_s=1.0,
    )
    return WholeAnswer.of(error, request.dialect, model=target.model)


def _resting(target: RouteTarget, request: ModelRequest) -> WholeAnswer:
    error = ModelError(
        status=503,
        code="hive.upstream_resting",
        message="The model provider failed again and again; it is left alone for a moment.",
        retry_after_s=max(1.0, target.live.breaker.rest_s),
    )
    return WholeAnswer.of(error, request.dialect, model=target.model)


def _key_refused(target: RouteTarget, request: ModelRequest) -> WholeAnswer:
    # A client that reads 401 would take its own key for the wrong one, and the text may quote the real one.
    error = ModelError(
        status=502,
        code="hive.upstream_key",
        message="The model provider refused the node's own key. Its operator sees more with "
        "`hive llm test`.",
    )
    return WholeAnswer.of(error, request.dialect, upstream=target.live.name, model=target.model)


def _nobody(request: ModelRequest) -> WholeAnswer:
    error = ModelError(
        status=404,
        code="hive.model_not_found",
        message="No model provider of this node knows this model.",
    )
    return WholeAnswer.of(error, request.dialect)
