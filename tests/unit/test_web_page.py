"""The live page shows what is there, runs nothing of what it shows, and opens only to the operator."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import httpx
import msgspec
import pytest

from hive.core.randomness import SystemRandomness
from hive.testing.console import MOMENT, TOKEN, WALLS, MemoryConsole
from hive.web.page import live_sections
from hive.web.sessions import KEY_LIFETIME_S, SESSIONS_MAX, PageSessions
from hive.web.site import OperatorSite
from hive.web.values import AgentStatus, TaskSummary

pytestmark = pytest.mark.anyio
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>\x1b[31m\u202e\"'"


class StillClock:
    """A clock that a test moves by hand."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def now(self) -> datetime:
        return MOMENT.astimezone(UTC)

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
def sessions(clock) -> PageSessions:
    return PageSessions(clock=clock, randomness=SystemRandomness())


@pytest.fixture
def console() -> MemoryConsole:
    return MemoryConsole()


@pytest.fixture
async def browser(console, sessions) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=OperatorSite(console, sessions=sessions))
    async with httpx.AsyncClient(transport=transport, base_url="http://hive") as opened:
        yield opened


async def test_without_a_session_the_page_asks_for_the_token_and_shows_nothing(browser):
    answer = await browser.get("/")
    assert answer.status_code == 401
    assert "node-1" not in answer.text
    assert (await browser.get("/live")).text == ""


async def test_a_link_opens_the_page_once(browser, sessions):
    key = sessions.make_key()
    first = await browser.get("/", params={"key": key})
    cookie = first.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "node-1" in (await browser.get("/")).text
    browser.cookies.clear()
    assert (await browser.get("/", params={"key": key})).status_code == 401


async def test_a_link_that_is_too_old_opens_nothing(browser, sessions, clock):
    key = sessions.make_key()
    clock.seconds += KEY_LIFETIME_S + 1
    assert (await browser.get("/", params={"key": key})).status_code == 401


async def test_the_token_opens_the_page_and_a_wrong_one_does_not(browser):
    assert (await browser.post("/login", data={"token": "wrong"})).status_code == 401
    assert (await browser.get("/")).status_code == 401
    await browser.post("/login", data={"token": TOKEN})
    assert (await browser.get("/")).status_code == 200


async def test_another_site_cannot_send_the_login_form(browser):
    answer = await browser.post(
        "/login", data={"token": TOKEN}, headers={"sec-fetch-site": "cross-site"}
    )
    assert answer.status_code == 400
    assert "set-cookie" not in answer.headers


async def test_the_pages_session_commands_nothing(browser, console, sessions):
    await browser.get("/", params={"key": sessions.make_key()})
    assert (await browser.post("/api/shutdown")).status_code == 401
    assert not console.stopping


async def test_sessions_are_bounded(sessions):
    first = sessions.open_session()
    for _ in range(SESSIONS_MAX):
        sessions.open_session()
    assert not sessions.holds(first)


async def test_what_an_agent_says_is_text_and_never_markup(console):
    agent = AgentStatus(name=HOSTILE, state=HOSTILE, tier=HOSTILE, walls=WALLS, reason=HOSTILE)
    task = TaskSummary(
        id="t",
        context_id="c",
        agent=HOSTILE,
        state=HOSTILE,
        caller=HOSTILE,
        created_at=MOMENT,
        updated_at=MOMENT,
        asked=HOSTILE,
        answer=HOSTILE,
    )
    status = msgspec.structs.replace(await console.status(), degraded=[HOSTILE], address=HOSTILE)
    page = live_sections(status, [agent], [task])
    tags = set(re.findall(r"<(\w+)", page))
    assert tags == {
        "section",
        "header",
        "h1",
        "h2",
        "p",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
    }
    assert "\x1b" not in page
    assert "\u202e" not in page


async def test_the_policy_lets_only_the_nodes_own_files_run(browser, sessions):
    await browser.get("/", params={"key": sessions.make_key()})
    page = await browser.get("/")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "//" not in re.sub(r"http://127\.0\.0\.1:8700", "", page.text)  # no foreign address
    assert "style=" not in page.text
    for asset in re.findall(r'(?:src|href)="(/[^"]+)"', page.text):
        assert (await browser.get(asset)).status_code == 200


async def test_health_and_readiness_need_no_token(browser, console):
    assert (await browser.get("/api/health")).json() == {"status": "ok"}
    assert (await browser.get("/api/ready")).json()["doors"] == {"a2a": True, "operator": True}
    console.ready = False
    late = await browser.get("/api/ready")
    assert late.status_code == 503
    assert late.json()["doors"]["a2a"] is False


async def test_strangers_learn_the_public_facts_only(browser):
    facts = (await browser.get("/.well-known/hive-mesh.json")).json()
    assert set(facts) == {"version", "node_id", "public_key", "doors"}
