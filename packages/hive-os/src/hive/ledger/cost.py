"""What model calls cost, summed over the results in the ledger: by agent, model, day, task, owner or upstream.

A result's amounts partly come from a provider, so that none is trusted: each is a whole number within
bounds, or unknown. A call whose price nobody knew counts as `unpriced`, never as free.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final, cast

from hive.core.errors import BadInputError
from hive.core.json import Json
from hive.engines.ports import Database, Row
from hive.ledger.entry import Entry, EntryKind
from hive.ledger.journal import body_of

TOKENS_MAX: Final = 10**12
NANO_USD_MAX: Final = 10**15
"""A million dollars for one call: what is above it is an error of somebody else."""
MS_MAX: Final = 10**10
GROUPS_MAX: Final = 1000
MINUTES_SHOWN: Final = 60
PAST_SLICE: Final = timedelta(days=7)
_SUM_MAX: Final = 2**63 - 1
_ASK: Final = "ask "


class CostKey(StrEnum):
    """By what sums can be grouped."""

    AGENT = "agent"
    MODEL = "model"
    DAY = "day"
    TASK = "task"
    OWNER = "owner"
    UPSTREAM = "upstream"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCall:
    """One answered model call, as its result tells."""

    at: datetime
    agent: str
    model: str
    upstream: str
    outcome: str
    input_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None
    reasoning_tokens: int | None
    nano_usd: int | None
    duration_ms: float
    first_token_ms: float | None

    @property
    def answered(self) -> bool:
        """Tell whether it ended well."""
        return self.outcome == "ok"

    @property
    def tokens(self) -> int:
        """Return the tokens that went in and came out."""
        return (self.input_tokens or 0) + (self.output_tokens or 0)

    @property
    def unpriced(self) -> bool:
        """Tell whether it cost something that nobody could say in money."""
        return self.nano_usd is None and (self.answered or self.tokens > 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class CostSum:
    """The sums of some calls. Durations are of calls that ended well; None where there were none."""

    key: Mapping[str, str] = field(default_factory=dict)
    calls: int = 0
    failed: int = 0
    unpriced: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    nano_usd: int = 0
    ms: int = 0
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    first_token_p50_ms: float | None = None
    first_token_p95_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CostReport:
    """Groups, the dearest first, and the total over all of them, also those that were left off."""

    by: tuple[CostKey, ...]
    since: datetime | None
    until: datetime | None
    groups: tuple[CostSum, ...]
    total: CostSum
    truncated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PastSpend:
    """What the chains of earlier starts hold: per agent in all and on one day, and the last hour."""

    day: date
    total: tuple[CostSum, ...]
    on_day: tuple[CostSum, ...]
    minutes: Mapping[int, tuple[int, int]]
    """Minutes since 1970 with their tokens and nano-dollars."""


def model_call_of(entry: Entry) -> ModelCall | None:
    """Read a line of the ledger as a model call; None where it is something else."""
    if entry.kind is not EntryKind.RESULT or not entry.name.startswith(_ASK):
        return None
    body = body_of(entry)
    cost = body.get("cost")
    cost = cost if isinstance(cost, dict) else {}
    return ModelCall(
        at=entry.at,
        agent=entry.agent,
        model=_words(cost.get("model")) or entry.name.removeprefix(_ASK),
        upstream=_words(cost.get("upstream")),
        outcome=_words(body.get("outcome")),
        input_tokens=_whole(cost.get("input_tokens"), TOKENS_MAX),
        output_tokens=_whole(cost.get("output_tokens"), TOKENS_MAX),
        cached_tokens=_whole(cost.get("cached_tokens"), TOKENS_MAX),
        reasoning_tokens=_whole(cost.get("reasoning_tokens"), TOKENS_MAX),
        nano_usd=_whole(cost.get("nano_usd"), NANO_USD_MAX),
        duration_ms=_length(body.get("duration_ms")) or 0.0,
        first_token_ms=_length(cost.get("first_token_ms")),
    )


class CostBook:
    """Sums model calls in the database; nothing here writes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def report(
        self,
        by: Sequence[CostKey],
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        task: str = "",
        groups_max: int = GROUPS_MAX,
    ) -> CostReport:
        """Sum the calls from `since` until before `until`, all of them or one task's.

        Raises:
            BadInputError: a key stands there twice.

        """
        keys = tuple(by)
        if len(set(keys)) != len(keys):
            raise BadInputError("The cost cannot be grouped twice by the same.")
        columns = "".join(f"{key.value}, " for key in keys)
        group = f"({columns.removesuffix(', ')}), ()" if keys else "()"
        whole = f"grouping({keys[0].value})" if keys else "1"
        rows = await self._database.fetch(
            f"WITH asked AS ({_ASKED_SQL}) "  # noqa: S608  the columns are of an enumeration
            f"SELECT {columns}{whole} AS whole, {_SUMS_SQL}, {_TIMES_SQL} FROM asked "
            "WHERE ($1::timestamptz IS NULL OR at >= $1) AND ($2::timestamptz IS NULL OR at < $2) "
            "AND ($3::text = '' OR task = $3) "
            f"GROUP BY GROUPING SETS ({group}) "
            f"ORDER BY whole DESC, nano_usd DESC, calls DESC {', ' * bool(keys)}"
            f"{columns.removesuffix(', ')} LIMIT $4",
            since,
            until,
            task,
            groups_max + 2,
        )
        groups = tuple(_sum_of(row, keys) for row in rows[1:])
        return CostReport(
            by=keys,
            since=since,
            until=until,
            groups=groups[:groups_max],
            total=_sum_of(rows[0], ()),
            truncated=len(groups) > groups_max,
        )

    async def past(self, *, without: Sequence[str], now: datetime) -> PastSpend:
        """Sum what stands in all chains but those that are counted already."""
        chains = list(without)
        sums: list[tuple[bool, CostSum]] = []
        begin = await self._next_call(datetime.min.replace(tzinfo=UTC))
        # A slice of time after the other: no statement is as long as the ledger.
        while begin is not None:
            end = begin + PAST_SLICE
            rows = await self._database.fetch(_PAST_SQL, chains, now.date().isoformat(), begin, end)
            sums += [(bool(row["on_day"]), _sum_of(row, (CostKey.AGENT,))) for row in rows]
            begin = await self._next_call(end)
        minutes = await self._database.fetch(
            f"WITH asked AS ({_ASKED_SQL}) "  # noqa: S608
            "SELECT floor(extract(epoch FROM at) / 60)::bigint AS minute, "
            "COALESCE(sum(input_tokens), 0) + COALESCE(sum(output_tokens), 0) AS tokens, "
            "COALESCE(sum(nano_usd), 0) AS nano_usd FROM asked "
            f"WHERE chain <> ALL($1::text[]) AND at > $2::timestamptz - interval '{MINUTES_SHOWN} minutes' "
            "GROUP BY minute",
            chains,
            now,
        )
        return PastSpend(
            day=now.date(),
            total=tuple(one for _, one in sums),
            on_day=tuple(one for today, one in sums if today),
            minutes={
                cast("int", row["minute"]): (_int(row["tokens"]), _int(row["nano_usd"]))
                for row in minutes
            },
        )

    async def _next_call(self, at: datetime) -> datetime | None:
        rows = await self._database.fetch(
            "SELECT min(at) AS at FROM entry "
            "WHERE kind = 'result' AND left(name, 4) = 'ask ' AND at >= $1",
            at,
        )
        return cast("datetime | None", rows[0]["at"])


def dollars(nano_usd: int) -> str:
    """Write money with as many digits as it has meaning: four of them where it is less than a dollar."""
    if nano_usd == 0:
        return "$0.00"
    amount = Decimal(nano_usd).scaleb(-9)
    digits = 2 if amount >= 100 else 4 if amount >= 1 else min(9, 3 - amount.adjusted())
    whole, _, rest = f"{amount:,.{digits}f}".partition(".")
    return f"${whole}.{rest.rstrip('0').ljust(2, '0')}"


_ASKED_SQL: Final = f"""
SELECT e.chain, e.at, e.agent, COALESCE(e.task, '') AS task, e.owner,
    to_char(e.at AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS day,
    COALESCE(NULLIF(r.body #>> '{{cost,model}}', ''), substr(e.name, 5)) AS model,
    COALESCE(r.body #>> '{{cost,upstream}}', '') AS upstream,
    (r.body ->> 'outcome') IS NOT DISTINCT FROM 'ok' AS answered,
    trunc(ledger_amount(r.body -> 'cost', 'input_tokens', {TOKENS_MAX})) AS input_tokens,
    trunc(ledger_amount(r.body -> 'cost', 'output_tokens', {TOKENS_MAX})) AS output_tokens,
    trunc(ledger_amount(r.body -> 'cost', 'cached_tokens', {TOKENS_MAX})) AS cached_tokens,
    trunc(ledger_amount(r.body -> 'cost', 'reasoning_tokens', {TOKENS_MAX})) AS reasoning_tokens,
    trunc(ledger_amount(r.body -> 'cost', 'nano_usd', {NANO_USD_MAX})) AS nano_usd,
    ledger_amount(r.body, 'duration_ms', {MS_MAX}) AS ms,
    ledger_amount(r.body -> 'cost', 'first_token_ms', {MS_MAX}) AS first_ms
FROM entry e CROSS JOIN LATERAL (SELECT ledger_result(e.body) AS body OFFSET 0) r
WHERE e.kind = 'result' AND left(e.name, 4) = 'ask '
"""  # noqa: S608  bounds of our own
_SUMS_SQL: Final = (
    "count(*) AS calls, count(*) FILTER (WHERE NOT answered) AS failed, "
    "count(*) FILTER (WHERE nano_usd IS NULL "
    "AND (answered OR COALESCE(input_tokens, 0) + COALESCE(output_tokens, 0) > 0)) AS unpriced, "
    "COALESCE(sum(ms), 0) AS ms, "
) + ", ".join(
    f"COALESCE(sum({name}), 0) AS {name}"
    for name in (
        "input_tokens",
        "output_tokens",
        "cached_tokens",
        "reasoning_tokens",
        "nano_usd",
    )
)
_PAST_SQL: Final = (
    f"WITH asked AS ({_ASKED_SQL}) "  # noqa: S608
    f"SELECT agent, (day = $2) AS on_day, {_SUMS_SQL} FROM asked "
    "WHERE chain <> ALL($1::text[]) AND at >= $3 AND at < $4 GROUP BY agent, on_day"
)
_TIMES_SQL: Final = (
    "percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY ms::float8) "
    "FILTER (WHERE answered) AS times, "
    "percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY first_ms::float8) "
    "FILTER (WHERE answered) AS first_times"
)
_UNKNOWN_TIMES: Final = (None, None, None)


def _sum_of(row: Row, keys: Sequence[CostKey]) -> CostSum:
    times = cast("Sequence[float | None]", row.get("times") or _UNKNOWN_TIMES)
    first = cast("Sequence[float | None]", row.get("first_times") or _UNKNOWN_TIMES)
    return CostSum(
        key={key.value: cast("str", row[key.value]) for key in keys},
        calls=_int(row["calls"]),
        failed=_int(row["failed"]),
        unpriced=_int(row["unpriced"]),
        input_tokens=_int(row["input_tokens"]),
        output_tokens=_int(row["output_tokens"]),
        cached_tokens=_int(row["cached_tokens"]),
        reasoning_tokens=_int(row["reasoning_tokens"]),
        nano_usd=_int(row["nano_usd"]),
        ms=_int(row["ms"]),
        p50_ms=times[0],
        p95_ms=times[1],
        p99_ms=times[2],
        first_token_p50_ms=first[0],
        first_token_p95_ms=first[1],
    )


def _int(value: object) -> int:
    return min(int(cast("int", value)), _SUM_MAX)


def _words(value: Json) -> str:
    return value if isinstance(value, str) else ""


def _whole(value: Json, most: int) -> int | None:
    number = _length(value)
    return None if number is None else int(min(number, most))


def _length(value: Json) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return max(0, min(value, MS_MAX * TOKENS_MAX))
