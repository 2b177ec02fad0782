"""A flood of refusals leaves a bounded number of lines and an exact count."""

from datetime import UTC, datetime

from hive.ledger.refusals import KINDS_MAX, PRINCIPALS_MAX, RefusalMeter


class StoppedClock:
    """Time that moves when told to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds


def test_a_flood_is_written_up_to_a_rate_and_then_counted() -> None:
    clock = StoppedClock()
    meter = RefusalMeter(clock=clock, written_per_s=5, written_burst_max=20)
    assert sum(meter.admit("agent:mallory", "rate") for _ in range(10_000)) == 20
    clock.seconds = 2.0
    assert sum(meter.admit("agent:mallory", "rate") for _ in range(100)) == 10
    assert meter.admit("agent:alice", "policy"), "another principal has its own allowance"
    draft = meter.summary()
    assert draft is not None
    assert draft.name == "refusals.summarised"
    assert draft.body["total"] == 10_100 - 30
    assert draft.body["counts"] == [
        {"principal": "agent:mallory", "check": "rate", "count": 10_070}
    ]
    assert meter.summary() is None


def test_a_flood_under_many_names_stays_bounded() -> None:
    meter = RefusalMeter(clock=StoppedClock(), written_burst_max=1)
    for number in range(PRINCIPALS_MAX + 5000):
        meter.admit(f"client:{number}", "identity")
        meter.admit(f"client:{number}", "identity")
    assert len(meter._allowances) == PRINCIPALS_MAX
    draft = meter.summary()
    assert draft is not None
    counts = draft.body["counts"]
    assert isinstance(counts, list)
    assert len(counts) == KINDS_MAX + 1
    assert draft.body["total"] == PRINCIPALS_MAX + 5000
