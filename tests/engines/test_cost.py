"""The sums of `hive cost` on a real PostgreSQL: exact, grouped as asked, and not to be broken by a provider."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from hive.core.errors import BadInputError
from hive.core.ids import OwnerId, TaskId
from hive.core.json import Json
from hive.engines import Migration, load_migrations
from hive.engines.ports import Database
from hive.ledger.cost import NANO_USD_MAX, CostBook, CostKey
from hive.ledger.entry import Draft, EntryKind
from hive.ledger.meter import SpendMeter
from hive.testing.ledger import line, open_ledger

pytestmark = pytest.mark.anyio
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class StoppedClock:
    """A clock that stands at one moment."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return 0.0


@pytest.fixture
def migrations() -> Sequence[Migration]:
    return load_migrations("hive.ledger")


def asked(
    model: str = "small",
    *,
    agent: str = "writer",
    at: datetime = NOON,
    outcome: str = "ok",
    ms: float = 100.0,
    task: str = "t-1",
    owner: str = "alice",
    **cost: Json,
) -> Draft:
    body: Mapping[str, Json] = {
        "verb": "ask",
        "target": model,
        "outcome": outcome,
        "duration_ms": ms,
        "cost": dict(cost),
        "note": "",
    }
    draft = line(f"ask {model}", kind=EntryKind.RESULT, body=body, owner=OwnerId(owner))
    return replace(draft, at=at, agent=agent, task=TaskId(task))


async def test_sums_are_exact_and_the_dearest_comes_first(database: Database) -> None:
    async with open_ledger(database) as writer:
        for number in range(10):
            await writer.append(
                asked(
                    "small",
                    ms=float(number),
                    input_tokens=10,
                    output_tokens=3,
                    cached_tokens=2,
                    nano_usd=333_333_333_333,
                    upstream="first",
                )
            )
        await writer.append(asked("large", agent="reader", input_tokens=1, nano_usd=9 * 10**14))
        await writer.append(asked("large", outcome="failed", ms=9999.0))
        # What is no model call is not summed.
        await writer.append(line("invoke x", kind=EntryKind.RESULT, body={"cost": {"nano_usd": 5}}))
        await writer.append(line("ask x", kind=EntryKind.EVENT, body={"cost": {"nano_usd": 5}}))
    report = await CostBook(database).report((CostKey.AGENT, CostKey.MODEL))
    assert [dict(one.key) for one in report.groups] == [
        {"agent": "reader", "model": "large"},
        {"agent": "writer", "model": "small"},
        {"agent": "writer", "model": "large"},
    ]
    small = report.groups[1]
    assert (small.calls, small.failed, small.unpriced) == (10, 0, 0)
    assert (small.input_tokens, small.output_tokens, small.cached_tokens) == (100, 30, 20)
    assert small.nano_usd == 3_333_333_333_330
    assert (small.p50_ms, small.p95_ms, small.p99_ms) == pytest.approx((4.5, 8.55, 8.91))
    assert report.groups[2].failed == 1
    assert report.groups[2].p50_ms is None
    assert report.total.calls == 12
    assert report.total.nano_usd == 9 * 10**14 + 3_333_333_333_330
    assert not report.truncated


async def test_every_key_groups(database: Database) -> None:
    async with open_ledger(database) as writer:
        await writer.append(asked(nano_usd=1, upstream="first"))
        later = NOON + timedelta(days=1)
        await writer.append(asked(at=later, owner="bob", task="t-2", nano_usd=2, model="large"))
    book = CostBook(database)
    found = {
        key.value: [one.key[key.value] for one in (await book.report((key,))).groups]
        for key in CostKey
    }
    assert found == {
        "agent": ["writer"],
        "model": ["large", "small"],
        "day": ["2026-03-02", "2026-03-01"],
        "task": ["t-2", "t-1"],
        "owner": ["bob", "alice"],
        "upstream": ["", "first"],
    }
    assert (await book.report(())).groups == ()
    assert (await book.report(())).total.nano_usd == 3
    with pytest.raises(BadInputError):
        await book.report((CostKey.DAY, CostKey.DAY))


async def test_the_time_counts_from_since_until_before_until(database: Database) -> None:
    async with open_ledger(database) as writer:
        for hour in range(4):
            await writer.append(asked(at=NOON + timedelta(hours=hour), nano_usd=10**hour))
    report = await CostBook(database).report(
        (), since=NOON + timedelta(hours=1), until=NOON + timedelta(hours=3)
    )
    assert report.total.nano_usd == 110
    other = await CostBook(database).report((), task="t-unknown")
    assert other.total.calls == 0


async def test_a_provider_cannot_break_or_falsify_a_sum(database: Database) -> None:
    nonsense: list[Json] = [-5, "1e9", True, None, [1], {"a": 1}, 10**18, 1.9]
    async with open_ledger(database) as writer:
        for value in nonsense:
            await writer.append(
                asked("x\\u0000y", nano_usd=value, input_tokens=value, upstream="\u0000\\u0000<b>")
            )
    book = CostBook(database)
    report = await book.report((CostKey.UPSTREAM,))
    assert report.total.calls == len(nonsense)
    assert report.total.nano_usd == NANO_USD_MAX + 1
    assert report.total.unpriced == 5
    assert "\u0000" not in report.groups[0].key["upstream"]


async def test_calls_without_a_price_are_unknown_and_not_free(database: Database) -> None:
    async with open_ledger(database) as writer:
        await writer.append(asked(input_tokens=7))
        await writer.append(asked(nano_usd=0))
        await writer.append(asked(outcome="failed"))
    total = (await CostBook(database).report(())).total
    assert (total.calls, total.failed, total.unpriced, total.nano_usd) == (3, 1, 1, 0)


async def test_groups_are_bounded_and_the_total_is_not(database: Database) -> None:
    async with open_ledger(database) as writer:
        for number in range(6):
            await writer.append(asked(f"model-{number}", nano_usd=number))
    report = await CostBook(database).report((CostKey.MODEL,), groups_max=4)
    assert [one.key["model"] for one in report.groups] == [f"model-{n}" for n in (5, 4, 3, 2)]
    assert report.truncated
    assert report.total.nano_usd == 15


async def test_the_database_finds_calls_by_their_index(database: Database) -> None:
    async with open_ledger(database) as writer:
        await writer.append(asked())
    async with database.transaction() as transaction:
        await transaction.execute("SET LOCAL enable_seqscan = off")
        plan = await transaction.fetch(
            "EXPLAIN SELECT body FROM entry WHERE kind = 'result' AND left(name, 4) = 'ask ' "
            "AND at >= $1",
            NOON,
        )
    assert any("entry_model_call" in str(row["QUERY PLAN"]) for row in plan)


async def test_a_meter_after_a_restart_tells_what_the_database_tells(database: Database) -> None:
    before = SpendMeter(clock := StoppedClock(NOON + timedelta(minutes=5)))
    async with open_ledger(database, observer=before.observe) as writer:
        await writer.append(asked(at=NOON - timedelta(days=1), input_tokens=4, nano_usd=50))
        for weeks in (1, 2, 3, 50):
            await writer.append(asked(at=NOON - timedelta(weeks=weeks), nano_usd=0))
        await writer.append(asked(input_tokens=5, nano_usd=7))
        await writer.append(asked(agent="reader", nano_usd=9, outcome="failed"))
    after = SpendMeter(clock)
    async with open_ledger(database, observer=after.observe) as writer:
        await writer.append(asked(at=clock.at, input_tokens=1, nano_usd=100))
        past = await CostBook(database).past(without=after.chains, now=clock.at)
        await writer.append(asked(at=clock.at, input_tokens=2, nano_usd=1000))
        after.add_past(past)
        after.add_past(past)
    whole = (await CostBook(database).report(())).total
    assert (after.total.calls, after.total.failed) == (whole.calls, whole.failed) == (9, 1)
    assert after.total.nano_usd == whole.nano_usd == 1166
    assert after.today.nano_usd == 1116
    assert after.agents.of("writer").total.nano_usd == 1157
    assert after.agents.of("reader").today.nano_usd == 9
    assert [pair for pair in after.minutes() if pair != (0, 0)] == [(5, 16), (3, 1100)]
