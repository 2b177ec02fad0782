"""The live page in a real browser: opened by its link, live, and inert whatever an agent says."""

import pytest

from hive.testing.node_process import node_process
from tests.end_to_end.browser import browser_tab, chromium

pytestmark = pytest.mark.skipif(chromium() is None, reason="chromium is not installed")
HOSTILE = "<script>alert('ran')</script><img src=x onerror=alert('ran')><h1 id=theirs>x</h1>"


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "agent.py").write_text("def agent(text):\n    return text\n")
    (folder / "hive-agent.toml").write_text(
        f'name = "hostile"\nentry = "agent.py:agent"\ndescription = """{HOSTILE}"""\n'
    )
    with node_process(tmp_path_factory.mktemp("node")) as running:
        running.hive("run", str(folder), "--yes")
        yield running


@pytest.fixture
def tab(tmp_path):
    with browser_tab(tmp_path / "profile") as tab:
        yield tab


@pytest.fixture
def page(node, tab):
    """Give the tab, in which a one-time link has opened the page."""
    tab.open(node.hive("status", "--link").strip())
    tab.until("document.querySelector('#connection')?.textContent === 'live'")
    return tab


def words(tab, section):
    return tab.value(f"document.getElementById('{section}').innerText")


def test_a_link_opens_the_page_with_agents_walls_and_engines(page):
    assert "hostile" in words(page, "agents")
    assert "ready" in words(page, "agents")
    assert "landlock" in words(page, "walls")
    assert "PostgreSQL" in words(page, "engines") or "postgresql" in words(page, "engines")
    assert page.value("location.search") == ""


def test_without_a_link_the_page_asks_for_the_token_and_takes_it(node, tab):
    tab.open(node.url)
    tab.until("document.querySelector('input[name=token]') !== null")
    assert "hostile" not in tab.value("document.documentElement.outerHTML")
    tab.value(
        f"document.querySelector('#token').value = '{node.token()}';"
        "document.querySelector('form').requestSubmit()"
    )
    tab.until("document.querySelector('#agents') !== null")


def test_a_call_shows_without_a_reload(node, page):
    page.value("window.thisLoad = true")
    node.hive("call", "hostile", "a call of this moment")
    page.until("document.getElementById('tasks').innerText.includes('a call of this moment')")
    assert page.value("window.thisLoad")


def test_what_an_agent_says_is_text_and_nothing_else(node, page):
    node.hive("call", "hostile", HOSTILE)
    page.until("document.getElementById('tasks').innerText.includes('onerror=')")
    assert "<script>" in words(page, "tasks")
    assert "onerror=" in words(page, "agents")
    assert page.value("document.querySelectorAll('img, #theirs, script:not([src])').length") == 0
    assert page.dialogs == []


def test_the_policy_stops_markup_that_would_run(node, page):
    page.value(
        "window.blocked = [];"
        "document.addEventListener('securitypolicyviolation',"
        " event => window.blocked.push(event.effectiveDirective));"
        "const inline = document.createElement('script');"
        "inline.textContent = 'window.ran = true'; document.body.append(inline);"
        "document.body.insertAdjacentHTML('beforeend', '<b onclick=\"window.ran = true\">x</b>');"
        "document.querySelector('b').click();"
        "const image = new Image(); image.src = 'http://127.0.0.1:9/stolen'; null"
    )
    page.until("window.blocked.length >= 3")
    assert page.value("window.ran") is None
    assert page.value("String([...new Set(window.blocked)].sort())") == (
        "img-src,script-src-attr,script-src-elem"
    )


def test_the_page_asks_nobody_else_for_anything(node, page):
    page.until("performance.getEntriesByType('resource').length >= 3")
    assert page.requests
    foreign = [url for url in page.requests if not url.startswith((node.url, "about:"))]
    assert foreign == []


def test_a_node_that_is_gone_is_said(node, page):
    node.kill()
    page.until("'lost' in document.querySelector('#connection').dataset")
    node.start()
    # Sessions end with the node, so the page asks for the token again.
    page.until("document.querySelector('input[name=token]') !== null")
