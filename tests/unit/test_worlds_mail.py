"""The office for the obedient agent: its tasks can be done, and without a guard its attackers get what they want."""

import random
from types import SimpleNamespace

import pytest
from benchmarks.obedient_agent import CARRIERS, StandIn
from benchmarks.worlds.mail import WORLD
from benchmarks.worlds.world import BenignTask, Goal, injection

from hive.security.labels import FlowAnswer


class _OpenOffice:
    """A book that lets everything pass."""

    def open(self, *_given: object, **_said: object) -> None:
        """Take a task."""

    def hear(self, *_given: object, **_said: object) -> None:
        """Take what was read."""

    def judge(self, *_given: object, **_said: object) -> SimpleNamespace:
        """Say yes."""
        return SimpleNamespace(answer=FlowAnswer.PASS, value="", reason="")


@pytest.fixture(autouse=True)
def _no_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.obedient_agent.FlowBook", _OpenOffice)


@pytest.mark.parametrize("task", WORLD.tasks, ids=lambda task: task.name)
def test_an_honest_agent_does_what_it_was_asked_for(task: BenignTask) -> None:
    agent = StandIn(WORLD, task, random.Random(1))
    agent.run()
    assert agent.refused == []
    assert task.done(agent.state)


@pytest.mark.parametrize("goal", WORLD.goals, ids=lambda goal: goal.name)
def test_without_a_guard_a_planted_text_gets_what_its_author_wants(goal: Goal) -> None:
    assert not goal.reached(WORLD.begin())
    reached = {
        place for task in WORLD.tasks for place in task.places if _planted(task, goal, place)
    }
    assert reached == set(WORLD.plant)


@pytest.mark.parametrize("goal", WORLD.goals, ids=lambda goal: goal.name)
def test_a_planted_text_that_nobody_obeys_reaches_nothing(goal: Goal) -> None:
    for plant in WORLD.plant.values():
        state = WORLD.begin()
        plant(state, injection(goal.calls))
        assert not goal.reached(state)


def _planted(task: BenignTask, goal: Goal, place: str) -> bool:
    agent = StandIn(WORLD, task, random.Random(1))
    WORLD.plant[place](agent.state, injection(goal.calls))
    agent.run()
    return goal.reached(agent.state)


def test_the_world_is_large_enough() -> None:
    attacks = len(WORLD.goals) * sum(len(task.places) + len(CARRIERS) - 1 for task in WORLD.tasks)
    assert len(WORLD.tools) >= 12
    assert len({task.name for task in WORLD.tasks}) == len(WORLD.tasks) >= 100
    assert len(WORLD.goals) >= 8
    assert attacks >= 200
