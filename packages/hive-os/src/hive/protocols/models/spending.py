"""What one question may spend and what it spent: bounded before it is sent, counted when it is over.

Where a ceiling of tokens or money stands above the caller, an answer without a limit gets one that fits.
A money ceiling and a model without a price do not go together: the question is refused.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Protocol, runtime_checkable

from hive.core.budget import Amounts, Unit
from hive.core.call import Refused
from hive.core.json import Json, encode
from hive.core.settings import Settings
from hive.protocols.models.conversation import TokenUsage
from hive.protocols.models.paths import COUNTS
from hive.protocols.models.ports import ModelAnswer, ModelRequest, RoutedAnswer, Upstream
from hive.protocols.models.prices import (
    FREE,
    FREE_SCHEMES,
    IMAGE_TOKENS,
    ModelPrice,
    PriceTable,
    load_prices,
)
from hive.protocols.models.reserve import (
    RequestBound,
    asks_usage,
    bound_of,
    with_limit,
    with_usage,
)
from hive.protocols.models.usage import UsageMeter

FREE_BOUND: Final = RequestBound(input=0, limit=0, speaks=False)
PIECES_OVER_MAX: Final = 16
BYTES_PER_TOKEN_MAX: Final = 256
_DEAR_TIERS: Final = ("priority", "fast")
_DEAR_TIMES: Final = 3
_FAST_TIMES: Final = 6
_HOUR: Final = b'"1h"'
_SPELLED: Final = re.compile(rb"\\u00(?:31|68)")
_load: Final = lru_cache(maxsize=4)(load_prices)
PRICES_FOUND_MAX: Final = 1000


class _Row(Protocol):
    @property
    def url(self) -> str: ...


class _Provider(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def row(self) -> _Row: ...


class ModelDestination(Protocol):
    """One provider that a model's name may lead to, and the model's name there."""

    @property
    def live(self) -> _Provider:
        """Return the provider."""
        ...

    @property
    def model(self) -> str:
        """Return the model as the provider knows it."""
        ...


@runtime_checkable
class Resolving(Protocol):
    """An upstream that can tell where a model's name leads."""

    def resolve(self, model: str) -> Sequence[ModelDestination]:
        """Return whom a model's name leads to, in order."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    upstream: str
    model: str
    price: ModelPrice | None


@dataclass(slots=True, kw_only=True)
class PaidQuestion:
    """One question on its way: what is sent, what is reserved, who answered and when."""

    request: ModelRequest
    bound: RequestBound
    output: int
    reserve: Amounts
    ways: tuple[_Way, ...]
    times: int
    hides_usage: bool
    ceiling: bool
    limit_is_ours: bool
    began: float
    upstream: str = ""
    model: str = ""
    unsure: int = 0
    was_cut: bool = False
    first_token_ms: float | None = None

    def heard(self, answer: ModelAnswer) -> None:
        """Keep who answers."""
        if isinstance(answer, RoutedAnswer):
            self.upstream, self.model = answer.upstream, answer.model
            self.unsure = answer.unsure

    def saw(self, meter: UsageMeter, now: float) -> None:
        """Keep when the first token came."""
        if self.first_token_ms is None and meter.output_pieces:
            self.first_token_ms = round((now - self.began) * 1000, 3)

    def passed(self, meter: UsageMeter) -> bool:
        """Tell whether an answer went past what was reserved for it; only a ceiling makes it matter."""
        if not self.ceiling or not self.bound.speaks:
            return False
        most = self.output + PIECES_OVER_MAX
        self.was_cut = meter.output_pieces > most or meter.output_bytes > BYTES_PER_TOKEN_MAX * most
        return self.was_cut

    def spent(self, meter: UsageMeter, *, ended: bool) -> Amounts:
        """Return what the provider counted; where it did not, the bound of what was sent and came."""
        usage = meter.usage()
        if ended and usage is None and not self.was_cut:
            return self.reserve
        if usage is None or not ended or self.was_cut:
            usage = self._torn(meter, usage)
        amounts = self._amounts(usage)
        if self.ceiling and self.unsure:
            # Somebody else had the question as well, and may bill it.
            amounts = _larger(amounts, self.reserve)
        if self.ceiling and self.bound.fees and Unit.NANO_USD in amounts:
            money = max(amounts[Unit.NANO_USD], self.reserve.get(Unit.NANO_USD, 0))
            amounts = {**amounts, Unit.NANO_USD: money}
        return amounts

    def cost(self, meter: UsageMeter, spent: Amounts, *, ended: bool) -> dict[str, Json]:
        """Return what the record says of the answer."""
        cost = {**meter.cost(), "stream": self.request.stream}
        if self.upstream:
            cost["upstream"] = self.upstream
        cost["model"] = self.model or self.request.model
        if Unit.NANO_USD in spent:
            cost["nano_usd"] = spent[Unit.NANO_USD]
        elif self._price() is None:
            cost["price_unknown"] = True
        if self.first_token_ms is not None:
            cost["first_token_ms"] = self.first_token_ms
        if self.unsure:
            cost["unsure"] = self.unsure
        if spent and (not ended or self.was_cut or meter.usage() is None):
            cost["estimated"] = True
        over = (amount > self.reserve.get(unit, amount) for unit, amount in spent.items())
        if self.ceiling and any(over):
            cost["overrun"] = True
        return cost

    def _torn(self, meter: UsageMeter, told: TokenUsage | None) -> TokenUsage:
        came = min(self.output, meter.output_bytes)
        if self.was_cut:
            came = max(self.output, meter.output_pieces)
        elif self.ceiling:
            # Nobody knows how long it thought, unseen, before it was left.
            came = self.output
        if told is None:
            return TokenUsage(input=self.bound.input, output=came)
        return TokenUsage(
            input=told.input or self.bound.input,
            output=max(told.output, came),
            cache_read=told.cache_read,
            cache_write=told.cache_write,
        )

    def _amounts(self, usage: TokenUsage) -> dict[Unit, int]:
        amounts = {Unit.TOKENS: usage.input + usage.output}
        price = self._price()
        if price is not None:
            amounts[Unit.NANO_USD] = price.nano_usd(
                usage,
                audio=self.bound.audio,
                hour=_keeps_an_hour(self.request),
                times=self.times,
            )
        return amounts

    def _price(self) -> ModelPrice | None:
        for way in self.ways:
            if (way.upstream, way.model) == (self.upstream, self.model):
                return way.price
        return self.ways[0].price if self.ways else None


class Purse:
    """Makes questions: knows prices, and what the node's settings allow."""

    def __init__(self, *, upstream: Upstream, settings: Settings, now: Callable[[], float]) -> None:
        self._upstream = upstream
        self._settings = settings
        self._now = now
        prices: PriceTable = _load(settings.model_prices)
        self._find = lru_cache(maxsize=PRICES_FOUND_MAX)(prices.find)

    def question(self, request: ModelRequest, room: Amounts) -> PaidQuestion | Refused:
        """Bound a request; where a ceiling stands above it, give it a limit that fits."""
        ways = self._ways(request.model)
        counts = request.action in COUNTS  # counting tokens is free with every provider
        if Unit.NANO_USD in room and not counts and any(way.price is None for way in ways):
            return _no_price(next(way.model for way in ways if way.price is None))
        prices = [way.price for way in ways if way.price is not None]
        bound = (
            FREE_BOUND
            if counts
            else bound_of(
                request,
                context=_most(prices, "context") if len(prices) == len(ways) else 0,
                image_tokens=_most(prices, "image_tokens") if prices else IMAGE_TOKENS,
            )
        )
        times = _times(request.document)
        ceiling = Unit.TOKENS in room or Unit.NANO_USD in room
        ours = ceiling and bound.speaks and bound.limit is None
        limit = self._limit(bound, prices, room, times) if ceiling else _unbounded(bound, prices)
        limit = limit or self._settings.model_output_tokens_max * bound.speaks
        sent = with_usage(request)
        if ours:
            sent = with_limit(sent, limit, models=tuple(way.model for way in ways))
        output = limit * bound.answers
        return PaidQuestion(
            request=sent,
            bound=bound,
            output=output,
            reserve=_reserve(bound, output, prices, times),
            ways=ways,
            times=times,
            hides_usage=sent is not request and not asks_usage(request) and asks_usage(sent),
            ceiling=ceiling,
            limit_is_ours=ours,
            began=self._now(),
        )

    def _limit(
        self, bound: RequestBound, prices: list[ModelPrice], room: Amounts, times: int
    ) -> int:
        """Return the limit of one answer: the client's, or what the model, the node and the room allow."""
        if not bound.speaks:
            return 0
        if bound.limit is not None:
            return bound.limit
        most = [self._settings.model_output_tokens_max]
        most += [price.output_max for price in prices if price.output_max]
        if Unit.TOKENS in room:
            most.append((room[Unit.TOKENS] - bound.input) // bound.answers)
        if Unit.NANO_USD in room:
            bought = (
                price.output_for(room[Unit.NANO_USD], tokens_in=bound.input, times=times)
                for price in prices
            )
            most += [one // bound.answers for one in bought if one is not None]
        # A question for one token at least: what does not fit is refused by the gate, which tells why.
        return max(1, min(most))

    def _ways(self, model: str) -> tuple[_Way, ...]:
        if isinstance(self._upstream, Resolving):
            found = tuple(
                _Way(
                    upstream=one.live.name,
                    model=one.model,
                    price=self._price(one.live.row.url, one.model),
                )
                for one in self._upstream.resolve(model)
            )
            # Where it leads nowhere nothing is asked, so nothing is paid.
            return found or (_Way(upstream="", model=model, price=FREE),)
        price = self._price(self._settings.models, model)
        return (_Way(upstream="", model=model, price=price),)

    def _price(self, url: str, model: str) -> ModelPrice | None:
        return FREE if url.partition(":")[0] in FREE_SCHEMES else self._find(model)


def _times(document: Mapping[str, Json]) -> int:
    """Return how many times the usual price a question's own wish for speed costs at most."""
    if document.get("speed") == "fast":
        return _FAST_TIMES
    tiers = (document.get("service_tier"), document.get("serviceTier"))
    return _DEAR_TIMES if any(one in _DEAR_TIERS for one in tiers) else 1


def _keeps_an_hour(request: ModelRequest) -> bool:
    """Tell whether a question may keep its cache for an hour, however that is spelled."""
    if _HOUR in request.body:
        return True
    return _SPELLED.search(request.body) is not None and _HOUR in encode(request.document)


def _larger(one: Amounts, other: Amounts) -> dict[Unit, int]:
    return {unit: max(one.get(unit, 0), other.get(unit, 0)) for unit in {*one, *other}}


def _reserve(bound: RequestBound, output: int, prices: list[ModelPrice], times: int) -> Amounts:
    amounts = {Unit.TOKENS: bound.input + output}
    if prices:
        amounts[Unit.NANO_USD] = max(
            price.bound_nano_usd(tokens_in=bound.input, tokens_out=output, times=times)
            for price in prices
        )
    return amounts


def _unbounded(bound: RequestBound, prices: list[ModelPrice]) -> int:
    """Return what one answer may have where nobody limits it; 0 where that is not known."""
    return _most(prices, "output_max") if bound.limit is None else bound.limit


def _most(prices: list[ModelPrice], name: str) -> int:
    """Return the largest of a size; 0 where one model's is not known."""
    sizes: list[int] = [getattr(price, name) for price in prices]
    return max(sizes, default=0) if all(sizes) else 0


def _no_price(model: str) -> Refused:
    return Refused(
        check="budget",
        reason=f"a budget of money stands above this call, and the model {model} has no price; an"
        " operator adds one to the file that HIVE_MODEL_PRICES names",
    )
