"""The watchdog's parts: rules as data, counting, circuits, standing."""

from dataclasses import replace

import pytest

from hive.core.call import Principal, PrincipalKind
from hive.core.errors import BadInputError
from hive.core.ids import AgentId, OwnerId
from hive.node.watchdog import Watchdog
from hive.security.policy import QuestionCounters
from hive.security.watchdog import (
    Breakers,
    Reaction,
    RecentTally,
    Reputation,
    Watch,
    read_rules,
    shipped_rules,
)
from hive.security.watchdog.breaker import OPEN_S, OUTCOMES_MIN
from hive.security.watchdog.reputation import (
    ALARM,
    COUNTED_MAX,
    HALF_LIFE_S,
    LOWEST,
    RECENT_S,
    WELL,
)
from hive.testing.clock import StoppedClock

REFUSED = {"kind": "intent", "decision": "refused", "check": "grant", "principal": "agent:a", "agent": "a"}  # fmt: skip


def watch(**count):
    told = "".join(f"{key} = {value!r}\n" for key, value in count.items())
    text = (
        '[[rule]]\nid = "r"\ntitle = "t"\n[rule.match]\ndecision = "refused"\n[rule.count]\n' + told
    )
    return Watch(read_rules(text.replace("'", '"')))


def test_a_rule_fires_at_its_count_and_once_in_its_time():
    found = watch(at_least=3, within_s=10)
    assert [len(found.see(REFUSED, at)) for at in (0, 1, 2, 3, 4)] == [0, 0, 1, 0, 0]
    assert [len(found.see(REFUSED, at)) for at in (15, 16, 17)] == [0, 0, 1]


def test_slow_steps_below_the_count_are_forgotten():
    found = watch(at_least=3, within_s=10)
    assert not any(found.see(REFUSED, at) for at in range(0, 100, 6))


def test_each_agent_is_counted_by_itself():
    found = watch(at_least=2, within_s=10)
    assert not found.see(REFUSED, 0)
    assert not found.see({**REFUSED, "agent": "b"}, 1)
    alarm = found.see(REFUSED, 2)[0]
    assert (alarm.agent, alarm.count, alarm.group) == ("a", 2, "a")


def test_different_values_can_be_counted():
    found = watch(at_least=2, within_s=10, distinct="target")
    same = {**REFUSED, "target": "x"}
    assert not any(found.see(same, at) for at in range(5))
    assert found.see({**same, "target": "y"}, 5)


@pytest.mark.parametrize(
    ("field", "fits"),
    [
        ('decision = "refused"', True),
        ('"decision|not" = "refused"', False),
        ('"principal|startswith" = "agent:"', True),
        ('"principal|endswith" = "b"', False),
        ('"principal|contains" = "ent"', True),
        ('"check|in" = ["grant", "policy"]', True),
        ('"size|gte" = 5', False),
        ('"agent|exists" = true', True),
        ('"owner|exists" = false', True),
        ('owner = "x"', False),
    ],
)
def test_a_field_fits_as_its_modifier_says(field, fits):
    rule = read_rules(f'[[rule]]\nid = "r"\ntitle = "t"\n[rule.match]\n{field}\n')[0]
    assert rule.fits(REFUSED) is fits


@pytest.mark.parametrize(
    "text",
    [
        "[[rule]",
        '[[rule]]\nid = "r"\n',
        '[[rule]]\nid = "r"\ntitle = "t"\n[rule.match]\n"a|magic" = 1\n',
        '[[rule]]\nid = "r"\ntitle = "t"\nreaction = "shoot"\n[rule.match]\na = 1\n',
        '[[rule]]\nid = "r"\ntitle = "t"\nsurprise = 1\n[rule.match]\na = 1\n',
        '[[rule]]\nid = "r"\ntitle = "t"\n[rule.match]\na = 1\n[rule.count]\nat_least = 0\n',
        '[[rule]]\nid = "r"\ntitle = "t"\n[rule.match]\na = 1\n' * 2,
    ],
)
def test_what_is_no_rule_is_told_with_its_reason(text):
    with pytest.raises(BadInputError) as error:
        read_rules(text)
    assert error.value.why


def test_the_shipped_rules_are_rules_and_the_strongest_needs_many_targets():
    rules = {one.id: one for one in shipped_rules()}
    out = rules["looks-for-a-way-out"]
    assert out.reaction is Reaction.QUARANTINE
    seen = Watch([out])
    assert not any(seen.see({**REFUSED, "target": "same"}, at) for at in range(100))
    assert any(seen.see({**REFUSED, "target": str(at)}, at) for at in range(100))


def test_a_circuit_opens_when_turns_fail_and_one_try_closes_it():
    found = Breakers()
    opened = [found.note("a", 0.0, well=False) for _ in range(OUTCOMES_MIN)]
    assert opened == [False] * (OUTCOMES_MIN - 1) + [True]
    assert found.wait_s("a", 1.0) == OPEN_S - 1.0
    assert found.wait_s("b", 1.0) == 0.0
    assert found.wait_s("a", OPEN_S) == 0.0, "who only asks takes nothing"
    assert found.try_s("a", OPEN_S, "one") == 0.0, "the try"
    assert found.wait_s("a", OPEN_S + 1) > 0, "the others wait for it"
    assert found.try_s("a", OPEN_S + 1, "another") > 0
    assert found.try_s("a", OPEN_S + 1, "one") == 0.0, "it is judged twice"
    found.note("a", OPEN_S + 2, well=True)
    assert found.wait_s("a", OPEN_S + 2) == 0.0


def test_a_try_that_fails_doubles_the_pause():
    found = Breakers()
    found.open("a", 0.0, "a rule")
    assert found.try_s("a", OPEN_S, "one") == 0.0
    assert found.note("a", OPEN_S, well=False)
    assert found.wait_s("a", OPEN_S) == 2 * OPEN_S
    found.close("a")
    assert found.reason("a") == ""


def test_a_mixed_record_opens_nothing():
    found = Breakers()
    assert not any(found.note("a", 0.0, well=number % 2 == 0) for number in range(100))


def test_a_standing_falls_with_alarms_rises_with_work_and_fades():
    found = Reputation()
    assert found.score("a", 0.0) == 1.0
    found.add("a", 0.0, bad=ALARM)
    low = found.score("a", 0.0)
    assert low == 0.33
    found.add("a", 0.0, good=5)
    assert low < found.score("a", 0.0) == 0.5 < found.score("a", HALF_LIFE_S) < 1.0
    assert found.score("a", 20 * HALF_LIFE_S) == 1.0
    found.add("a", 20 * HALF_LIFE_S, bad=1e9)
    assert found.score("a", 20 * HALF_LIFE_S) == LOWEST


def test_praise_of_friends_makes_up_for_one_alarm_only():
    found = Reputation()
    for _ in range(10_000):
        found.add("a", 0.0, good=WELL)
    for _ in range(4):
        found.add("a", 0.0, bad=ALARM)
    assert found.score("a", 0.0) < 0.3


def test_what_happened_is_counted_for_an_hour_and_up_to_a_bound():
    found = RecentTally()
    for at in (0.0, 10.0, 20.0):
        found.add("a", at)
    assert [found.count("a", at) for at in (20.0, RECENT_S, RECENT_S + 10, RECENT_S + 20)] == [3, 2, 1, 0]  # fmt: skip
    for _ in range(2 * COUNTED_MAX):
        found.add("a", 0.0)
    assert (found.count("a", 0.0), found.count("b", 0.0)) == (COUNTED_MAX, 0)


def test_only_agents_have_a_record():
    found = Watchdog(quarantine=None, clock=StoppedClock(), note=None)
    found.reputation.add("a", 0.0, bad=ALARM)
    agent = Principal(kind=PrincipalKind.AGENT, name="a", owner=OwnerId(""), agent=AgentId("a"))
    assert found.score(agent) < 1
    assert found.score(replace(agent, kind=PrincipalKind.CLIENT, agent=None)) == 1.0
    assert found.counted(agent) == QuestionCounters()
    found._send.close()
    found._receive.close()
