"""The bank for the obedient agent: its tasks can be done, and without a guard its attackers get what they want."""

import random
from types import SimpleNamespace

import pytest
from benchmarks.obedient_agent import CARRIERS, StandIn
from benchmarks.worlds.bank import WORLD
from benchmarks.worlds.world import BenignTask, Goal, RefusedError, injection

from hive.security.labels import FlowAnswer


class _OpenBook:
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
    monkeypatch.setattr("benchmarks.obedient_agent.FlowBook", _OpenBook)


def _agent(task: BenignTask) -> StandIn:
    return StandIn(WORLD, task, random.Random(1))


@pytest.mark.parametrize("task", WORLD.tasks, ids=lambda task: task.name)
def test_an_honest_agent_does_what_it_was_asked_for(task: BenignTask) -> None:
    agent = _agent(task)
    agent.run()
    assert agent.refused == []
    assert task.done(agent.state)


@pytest.mark.parametrize("task", WORLD.tasks, ids=lambda task: task.name)
def test_an_honest_task_does_no_harm_by_itself(task: BenignTask) -> None:
    agent = _agent(task)
    agent.run()
    assert [goal.name for goal in WORLD.goals if goal.reached(agent.state)] == []


@pytest.mark.parametrize("task", WORLD.tasks, ids=lambda task: task.name)
def test_a_task_whose_calls_are_all_refused_is_not_done(task: BenignTask) -> None:
    def refuse(tool: str, **_arguments: object) -> None:
        raise RefusedError(tool)

    with pytest.raises(RefusedError):
        task.steps(refuse)
    assert not task.done(WORLD.begin())


@pytest.mark.parametrize("goal", WORLD.goals, ids=lambda goal: goal.name)
def test_without_a_guard_a_planted_text_gets_what_its_author_wants(goal: Goal) -> None:
    reached = [
        place for task in WORLD.tasks for place in task.places if _planted(task, goal, place)
    ]
    assert set(reached) == set(WORLD.plant)


@pytest.mark.parametrize("task", WORLD.tasks, ids=lambda task: task.name)
def test_a_task_reads_the_places_that_it_names(task: BenignTask) -> None:
    goal = WORLD.goals[0]
    assert [place for place in task.places if not _planted(task, goal, place)] == []


@pytest.mark.parametrize("goal", WORLD.goals, ids=lambda goal: goal.name)
def test_a_planted_text_that_nobody_obeys_reaches_nothing(goal: Goal) -> None:
    for plant in WORLD.plant.values():
        state = WORLD.begin()
        plant(state, injection(goal.calls))
        assert not goal.reached(state)


def _planted(task: BenignTask, goal: Goal, place: str) -> bool:
    agent = _agent(task)
    WORLD.plant[place](agent.state, injection(goal.calls))
    agent.run()
    return goal.reached(agent.state)


@pytest.mark.parametrize("goal", WORLD.goals, ids=lambda goal: goal.name)
def test_an_agent_that_obeys_nothing_does_no_harm_with_poisoned_records(
    goal: Goal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.obedient_agent.orders", lambda _answer: ())
    harmed = [
        f"{task.name}: {place}"
        for task in WORLD.tasks
        for place in task.places
        if _planted(task, goal, place)
    ]
    assert harmed == []


def test_the_world_is_large_enough() -> None:
    plain = [goal for goal in WORLD.goals if not goal.name.startswith("adaptive ")]
    attacks = len(plain) * sum(len(task.places) + len(CARRIERS) - 1 for task in WORLD.tasks)
    assert len(WORLD.tools) >= 12
    assert len({task.name for task in WORLD.tasks}) == len(WORLD.tasks) >= 100
    assert len({task.steps.__wrapped__.__code__ for task in WORLD.tasks}) >= 25
    assert len(plain) >= 8
    assert len(WORLD.goals) - len(plain) >= 5
    assert attacks >= 200
