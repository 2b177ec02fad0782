"""`/metrics` is what Prometheus and OpenMetrics say it must be, and opens to a token only."""

from collections.abc import AsyncIterator

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openly
from prometheus_client.parser import text_string_to_metric_families as read_text

from hive.core.clock import SystemClock
from hive.core.randomness import SystemRandomness
from hive.core.secret import Secret
from hive.ledger.meter import SpendMeter
from hive.testing.console import TOKEN, MemoryConsole
from hive.web.metrics import MetricsPage, metrics_text, wants_openmetrics
from hive.web.sessions import PageSessions
from hive.web.site import OperatorSite
from hive.web.spend import BudgetBar, LiveSpend, NodeFigures, UpstreamHealth
from tests.spend_rig import ask_line, metered

pytestmark = pytest.mark.anyio
SCRAPER = "a-scrapers-token"
HOSTILE = 'x"\\\n} 1\nhive_fake_total 99\n# EOF\x1b[31m\u202e'


class MeteredSource:
    """A source of figures that counts what a test tells it."""

    def __init__(self, meter: SpendMeter) -> None:
        self.meter = meter

    async def live(self) -> LiveSpend:
        return LiveSpend()

    def figures(self) -> NodeFigures:
        return figures(self.meter)


def figures(meter: SpendMeter) -> NodeFigures:
    return NodeFigures(
        version="0.1",
        node_id="node-1",
        meter=meter.figures(),
        agents={"ready": 2},
        tasks={"working": 3},
        turns_running=1,
        turns_waiting=4,
        budgets=[
            BudgetBar(
                scope="agent",
                name=HOSTILE,
                unit="nano_usd",
                limit=100,
                spent=60,
                reserved=7,
                period="day",
                closed=True,
            )
        ],
        upstreams=[UpstreamHealth(name="first", state="open", healthy=False)],
    )


@pytest.fixture
def meter() -> SpendMeter:
    return metered(
        ask_line(input_tokens=10, output_tokens=5, nano_usd=1_500_000_000, upstream="first"),
        ask_line(input_tokens=10, cached_tokens=4, ms=700, first_token_ms=30, upstream="first"),
        ask_line(outcome="failed", upstream="first"),
        ask_line(HOSTILE, agent=HOSTILE, upstream=HOSTILE, nano_usd=1),
    )


@pytest.fixture
async def scraper(meter) -> AsyncIterator[httpx.AsyncClient]:
    console = MemoryConsole()
    page = MetricsPage(MeteredSource(meter), is_operator=console.is_operator, token=Secret(SCRAPER))
    sessions = PageSessions(clock=SystemClock(), randomness=SystemRandomness())
    site = OperatorSite(console, sessions=sessions, metrics=page)
    transport = httpx.ASGITransport(app=site)
    async with httpx.AsyncClient(transport=transport, base_url="http://hive") as opened:
        yield opened


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def samples(families) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (one.name, tuple(sorted(one.labels.items()))): one.value
        for family in families
        for one in family.samples
    }


@pytest.mark.parametrize(
    "headers",
    [{}, bearer(""), bearer("wrong"), {"authorization": TOKEN}, {"cookie": f"hive_page={TOKEN}"}],
)
async def test_without_a_token_nothing_is_told(scraper, headers):
    answer = await scraper.get("/metrics", headers=headers)
    assert answer.status_code == 401
    assert "hive_" not in answer.text


@pytest.mark.parametrize("token", [TOKEN, SCRAPER])
async def test_either_token_opens_the_metrics(scraper, token):
    answer = await scraper.get("/metrics", headers=bearer(token))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"


async def test_the_scrapers_token_opens_nothing_else(scraper):
    assert (await scraper.get("/api/status", headers=bearer(SCRAPER))).status_code == 401
    assert (await scraper.post("/metrics", headers=bearer(SCRAPER))).status_code == 400


async def test_an_empty_scrapers_token_is_no_token(meter):
    async def nobody(_token: str) -> bool:
        return False

    page = MetricsPage(MeteredSource(meter), is_operator=nobody, token=Secret(""))
    assert not await page._may_read("Bearer ")
    assert not await page._may_read("Bearer x")


async def test_the_text_format_holds_the_figures(scraper):
    answer = await scraper.get("/metrics", headers=bearer(TOKEN))
    found = samples(read_text(answer.text))
    first = (("agent", "writer"), ("model", "small"))
    way = ("upstream", "first")
    assert found["hive_model_calls_total", (*first, ("outcome", "ok"), way)] == 2
    assert found["hive_model_calls_total", (*first, ("outcome", "failed"), way)] == 1
    assert found["hive_model_tokens_total", (first[0], ("kind", "input"), first[1], way)] == 20
    assert found["hive_model_tokens_total", (first[0], ("kind", "cached"), first[1], way)] == 4
    assert found["hive_model_cost_usd_total", (*first, way)] == 1.5
    assert found["hive_model_calls_unpriced_total", (*first, way)] == 1
    assert found["hive_calls_total", (("outcome", "ok"), ("verb", "ask"))] == 3
    assert found["hive_tasks", (("state", "working"),)] == 3
    assert found["hive_agents", (("state", "ready"),)] == 2
    assert found["hive_turns_running", ()] == 1
    assert found["hive_ledger_entries_total", ()] == 4
    assert found["hive_upstream_up", (("upstream", "first"),)] == 0
    assert found["hive_node_info", (("node", "node-1"), ("version", "0.1"))] == 1
    assert found["process_resident_memory_bytes", ()] > 0


async def test_openmetrics_is_given_to_who_takes_it_and_holds_the_same(scraper):
    headers = bearer(TOKEN)
    text = samples(read_text((await scraper.get("/metrics", headers=headers)).text))
    headers["accept"] = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"
    answer = await scraper.get("/metrics", headers=headers)
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert answer.text.endswith("# EOF\n")
    openly = samples(read_openly(answer.text))
    ours = {name for name in text if name[0].startswith("hive_")}
    assert len(ours) > 40
    assert {name: openly[name] for name in ours} == {name: text[name] for name in ours}


@pytest.mark.parametrize("openly", [False, True])
def test_every_metric_says_what_it_is_and_histograms_add_up(meter, openly):
    text = metrics_text(figures(meter), openly).decode()
    families = list((read_openly if openly else read_text)(text))
    assert all(family.documentation for family in families)
    assert {family.type for family in families} <= {"counter", "gauge", "histogram"}
    durations = next(one for one in families if one.name == "hive_model_duration_seconds")
    small = [one for one in durations.samples if one.labels["model"] == "small"]
    buckets = [one.value for one in small if one.name.endswith("_bucket")]
    assert buckets == sorted(buckets)
    assert buckets[-1] == 2 == next(one.value for one in small if one.name.endswith("_count"))
    total = next(one.value for one in small if one.name.endswith("_sum"))
    assert total == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("accept", "openly"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain;version=0.0.4", False),
        ("application/openmetrics-text", True),
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", True),
        ("text/plain;q=0.2, APPLICATION/openmetrics-text;version=1.0.0;q=0.7", True),
        ("application/openmetrics-text;version=1.0.0;q=0", False),
        ("application/openmetrics-text;version=x", False),
        ("application/openmetrics-text;;;=,=;q=,,", True),
    ],
)
def test_the_format_is_chosen_by_what_is_taken(accept, openly):
    assert wants_openmetrics(accept) is openly
