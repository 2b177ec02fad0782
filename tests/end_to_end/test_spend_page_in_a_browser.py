"""Spending on the live page in a real browser: live, inert, readable on a phone, by keys and by a reader."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
import msgspec
import pytest
from anyio.from_thread import start_blocking_portal

from hive.core.clock import SystemClock
from hive.core.randomness import SystemRandomness
from hive.node.http import HttpServer, bind_port
from hive.testing.console import MemoryConsole
from hive.web.sessions import PageSessions
from hive.web.site import OperatorSite
from hive.web.spend import AgentSpend, BudgetBar, LiveSpend, Minute, Spent, UpstreamHealth
from tests.end_to_end.browser import browser_tab, chromium

pytestmark = pytest.mark.skipif(chromium() is None, reason="chromium is not installed")
HOSTILE = "<img src=x onerror=alert('ran')>\"'><h1 id=theirs>x</h1>\u202e\x1b[31m"
PHONE_PX = 360
SPEND = LiveSpend(
    today=Spent(calls=1200, failed=3, tokens=98_000, nano_usd=1_234_500_000),
    total=Spent(calls=90_000, tokens=5_000_000, nano_usd=77_000_000_000),
    tokens_per_s=41.5,
    p50_ms=320,
    p95_ms=1800,
    p99_ms=12_000,
    first_token_p50_ms=110,
    first_token_p95_ms=400,
    minutes=[Minute(tokens=(n * 37) % 101, nano_usd=n) for n in range(60)],
    agents=[
        AgentSpend(agent="writer", today=Spent(calls=9, nano_usd=10**9), total=Spent(calls=9)),
        AgentSpend(agent=HOSTILE, today=Spent(calls=1, unpriced=1), total=Spent(calls=1)),
    ],
    budgets=[
        BudgetBar(scope="agent", name="writer", unit="nano_usd", limit=2 * 10**9, spent=10**9),
        BudgetBar(scope="task", name=HOSTILE, unit="calls", limit=50, spent=50, closed=True),
    ],
    upstreams=[UpstreamHealth(name=HOSTILE, state="open", detail=HOSTILE, healthy=False)],
)


class ToldSource:
    """Tells what a test says."""

    def __init__(self) -> None:
        self.spend = SPEND

    async def live(self) -> LiveSpend:
        return self.spend


@contextmanager
def served(source: ToldSource) -> Iterator[tuple[str, PageSessions]]:
    sessions = PageSessions(clock=SystemClock(), randomness=SystemRandomness())
    stop, opened = threading.Event(), threading.Event()
    sock = bind_port("127.0.0.1", 0)
    port = sock.getsockname()[1]

    async def serve() -> None:
        server = HttpServer(OperatorSite(MemoryConsole(), sessions=sessions, spend=source))
        await server.listen(sock)
        opened.set()
        await anyio.to_thread.run_sync(stop.wait)
        await server.aclose()

    with start_blocking_portal() as portal:
        done = portal.start_task_soon(serve)
        assert opened.wait(30)
        try:
            yield f"http://127.0.0.1:{port}", sessions
        finally:
            stop.set()
            done.result(30)


@pytest.fixture
def source() -> ToldSource:
    return ToldSource()


@pytest.fixture
def page(source, tmp_path):
    with served(source) as (url, sessions), browser_tab(tmp_path / "profile") as tab:
        tab.open(f"{url}/?key={sessions.make_key()}")
        tab.until("document.querySelector('#connection')?.textContent === 'live'")
        yield tab


def test_what_is_spent_shows_and_changes_without_a_reload(page, source):
    assert "$1.2345" in page.value("document.getElementById('spend').innerText")
    page.value("window.thisLoad = true")
    source.spend = msgspec.structs.replace(SPEND, today=Spent(calls=1201, nano_usd=9 * 10**9))
    page.until("document.getElementById('spend').innerText.includes('$9.00')")
    assert page.value("window.thisLoad")
    assert page.value("document.querySelectorAll('#spend rect').length") > 50


def test_names_run_nothing_and_break_out_of_nothing(page):
    assert page.value("document.querySelectorAll('img, #theirs, script:not([src])').length") == 0
    assert "onerror=" in page.value("document.getElementById('spenders').innerText")
    assert page.value("document.querySelectorAll('#upstreams tbody tr').length") == 1
    assert page.dialogs == []


def test_a_screen_reader_is_told_whose_ceiling_and_how_full(page):
    page.command("Accessibility.enable")
    tree = page.command("Accessibility.getFullAXTree")["nodes"]
    meters = [node for node in tree if node.get("role", {}).get("value") == "meter"]
    assert len(meters) == 3
    names = [node["name"]["value"] for node in meters]
    assert "agent writer: $1.00 of $2.00, 50%" in names
    images = [
        node["name"]["value"]
        for node in tree
        if node.get("role", {}).get("value") in ("img", "image", "graphics-document")
    ]
    assert any(name.startswith("Tokens a minute in the last hour") for name in images)


def test_a_section_that_scrolls_is_reached_by_keys_and_keeps_its_place(page, source):
    page.value("document.getElementById('spenders').focus()")
    source.spend = msgspec.structs.replace(SPEND, agents=SPEND.agents[:1])
    page.until("document.querySelectorAll('#spenders tbody tr').length === 1")
    assert page.value("document.activeElement.id") == "spenders"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_it_without_scrolling_the_page_sideways(page, scheme):
    page.command(
        "Emulation.setDeviceMetricsOverride",
        width=PHONE_PX,
        height=740,
        deviceScaleFactor=1,
        mobile=True,
    )
    page.command(
        "Emulation.setEmulatedMedia",
        features=[{"name": "prefers-color-scheme", "value": scheme}],
    )
    page.until(f"window.innerWidth === {PHONE_PX}")
    assert page.value("document.documentElement.scrollWidth") == PHONE_PX
    back = page.value("getComputedStyle(document.body).backgroundColor")
    assert back == ("rgb(22, 24, 26)" if scheme == "dark" else "rgb(246, 246, 244)")
    assert page.value("document.querySelector('meter').getBoundingClientRect().height") > 5
