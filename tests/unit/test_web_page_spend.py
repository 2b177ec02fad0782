"""The page's part about spending: amounts as people read them, ceilings with words, names as text."""

import re

import pytest

from hive.web.page_spend import amount, milliseconds, money, spend_sections
from hive.web.spend import AgentSpend, BudgetBar, LiveSpend, Minute, Spent, UpstreamHealth
from tests.unit.test_web_page import HOSTILE

NOTHING = [Minute(tokens=0, nano_usd=0)] * 60


def bar(**more) -> BudgetBar:
    return BudgetBar(**({"scope": "agent", "name": "a", "unit": "tokens", "limit": 100} | more))


def agent(name: str = "a", **spent: int) -> AgentSpend:
    return AgentSpend(agent=name, today=Spent(**spent), total=Spent(**spent))


def test_every_name_is_text_and_never_markup():
    page = spend_sections(
        LiveSpend(
            minutes=[*NOTHING[1:], Minute(tokens=5, nano_usd=0)],
            agents=[agent(HOSTILE, calls=1)],
            budgets=[
                bar(name=HOSTILE, scope=HOSTILE, unit=HOSTILE, period=HOSTILE),
                bar(name=HOSTILE),
            ],
            upstreams=[UpstreamHealth(name=HOSTILE, state=HOSTILE, detail=HOSTILE)],
        )
    )
    tags = set(re.findall(r"<(\w+)", page))
    assert not tags & {"script", "img"}
    attributes = set(
        re.findall(r"([\w-]+)=", re.sub(r'"[^"]*"', "", " ".join(re.findall(r"<[^>]*>", page))))
    )
    assert not {name for name in attributes if name.startswith("on")} | attributes & {
        "src",
        "style",
    }
    assert "value" in attributes
    assert "onerror=alert(1)&gt;" in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    # Each quote that a name holds is written by its number, so that no attribute ends early.
    assert "&quot;&#x27;" in page


@pytest.mark.parametrize(
    ("spent", "text"),
    [
        (Spent(), "$0.00"),
        (Spent(calls=2, nano_usd=5_000_000), "$0.005"),
        (Spent(calls=2, unpriced=2), "price unknown"),
        (Spent(calls=3, failed=1, unpriced=2), "price unknown"),
        (Spent(calls=3, unpriced=1, nano_usd=10**9), "$1.00 + 1 of unknown price"),
        (Spent(calls=3, unpriced=1), "$0.00 + 1 of unknown price"),
    ],
)
def test_an_unknown_price_is_said(spent, text):
    assert money(spent) == text


def test_amounts_have_their_units():
    assert amount("nano_usd", 1_500_000_000) == "$1.50"
    assert amount("milliseconds", 90_000) == "90.0 s"
    assert amount("tokens", 12_000) == "12,000 tokens"
    assert (milliseconds(None), milliseconds(12.4), milliseconds(61_000)) == (
        "-",
        "12 ms",
        "61.0 s",
    )


def test_a_ceiling_is_a_meter_that_says_whose_and_how_much():
    page = spend_sections(LiveSpend(budgets=[bar(spent=60, reserved=25)]))
    meter = re.search(r"<meter [^>]*>", page)[0]
    assert 'value="85.0"' in meter
    assert 'aria-label="agent a: 85 tokens of 100 tokens, 85%"' in meter


@pytest.mark.parametrize(
    ("given", "state"),
    [({"spent": 94}, "open"), ({"spent": 95}, "nearly used"), ({"closed": True}, "closed")],
)
def test_a_ceilings_state_is_a_word(given, state):
    page = spend_sections(LiveSpend(budgets=[bar(**given)]))
    assert f">{state}</td>" in page


def test_an_agents_row_shows_its_nearest_ceiling():
    page = spend_sections(
        LiveSpend(
            agents=[agent("a", calls=1), agent("b", calls=1)],
            budgets=[bar(spent=10), bar(unit="calls", spent=50), bar(name="b", limit=0)],
        )
    )
    spenders = page[page.index('id="spenders"') : page.index('id="budgets"')]
    assert "50 calls of 100 calls" in spenders
    assert "10 tokens" not in spenders
    assert "0 tokens of 0 tokens, 100%" in spenders


def test_the_chart_says_the_same_in_words():
    page = spend_sections(
        LiveSpend(
            minutes=[*NOTHING[2:], Minute(tokens=300, nano_usd=1), Minute(tokens=40, nano_usd=1)]
        )
    )
    assert page.count("<rect") == 2
    assert 'height="48.0"' in page
    assert "340 in all, 300 in the busiest minute, 40 in this one" in page
    assert "No tokens in the last hour" in spend_sections(LiveSpend(minutes=NOTHING))


def test_sums_that_are_not_whole_yet_are_not_shown_as_whole():
    page = spend_sections(LiveSpend(complete=False, total=Spent(nano_usd=10**9, calls=1)))
    assert "$1" not in page
    assert "being summed" in page
