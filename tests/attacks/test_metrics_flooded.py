"""An agent that makes up names cannot fill the node's memory, hide other agents, or forge a metric."""

import tracemalloc

from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openly
from prometheus_client.parser import text_string_to_metric_families as read_text

from hive.ledger.meter import MODELS_PER_AGENT_MAX, OTHER, SERIES_MAX, SpendMeter
from hive.web.metrics import metrics_text
from tests.spend_rig import HandClock, ask_line
from tests.unit.test_web_metrics import HOSTILE, figures

NAMES = 100_000
MEMORY_MAX_BYTES = 2 << 20
TEXT_MAX_BYTES = 1 << 20


def test_a_hundred_thousand_model_names_take_no_memory_and_no_place_from_others():
    meter = SpendMeter(HandClock())
    tracemalloc.start()
    for number in range(NAMES):
        meter.observe([ask_line(f"made-up-{number}", agent="liar", nano_usd=1, input_tokens=1)])
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used < MEMORY_MAX_BYTES
    meter.observe([ask_line("honest", agent="writer", nano_usd=5)])
    of_liar = [name for name in meter.series.kept if name[0] == "liar"]
    assert len(of_liar) == MODELS_PER_AGENT_MAX + 1
    assert meter.series.kept["liar", OTHER, "-"].tally.calls == NAMES - MODELS_PER_AGENT_MAX
    assert meter.series.kept["writer", "honest", "-"].tally.nano_usd == 5
    assert meter.total.nano_usd == NAMES + 5
    assert len(metrics_text(figures(meter), False)) < TEXT_MAX_BYTES


def test_as_many_agents_and_upstreams_end_in_one_series_as_well():
    meter = SpendMeter(HandClock())
    for number in range(5_000):
        name = f"n{number}"
        meter.observe([ask_line(name, agent=name, upstream=name, outcome=name, nano_usd=1)])
    assert len(meter.series.kept) <= SERIES_MAX + 1
    assert len(meter.calls) <= 65
    assert sum(len(one.outcomes) for one in meter.series.kept.values()) < 2 * SERIES_MAX
    assert sum(one.tally.nano_usd for one in meter.series.kept.values()) == 5_000
    assert len(metrics_text(figures(meter), True)) < TEXT_MAX_BYTES


def test_a_name_cannot_end_its_line_and_begin_another():
    meter = SpendMeter(HandClock())
    meter.observe([ask_line(HOSTILE, agent=HOSTILE, upstream=HOSTILE, outcome=HOSTILE)])
    for text, read in (
        (metrics_text(figures(meter), False).decode(), read_text),
        (metrics_text(figures(meter), True).decode(), read_openly),
    ):
        names = {one.name for family in read(text) for one in family.samples}
        assert "hive_fake_total" not in names
        assert "hive_model_calls_total" in names
        assert "\x1b" not in text
        assert "\u202e" not in text
