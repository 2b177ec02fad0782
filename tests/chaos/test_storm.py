"""Whatever is killed at random while clients work: what they were promised is kept."""

import pytest

from tests.chaos.storm import StormReport, run_storm, size_from_environment

pytestmark = pytest.mark.chaos


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> StormReport:
    found = run_storm(size_from_environment(), tmp_path_factory.mktemp("storm"))
    print(found.told())  # noqa: T201
    return found


def test_something_was_killed_and_something_was_promised(report):
    assert sum(report.kills.values()) >= 3
    assert report.promised > report.in_flight_max > 0


def test_no_promised_task_is_lost(report):
    assert report.lost == []


def test_every_promised_task_comes_to_rest(report):
    assert report.unsettled == []


def test_tasks_that_may_be_repeated_end_with_the_right_answer(report):
    assert report.repeatable
    assert len(report.wrong) <= report.repeatable // 100, report.wrong
    assert report.right_share >= 0.99, report.once_wrong


def test_no_once_effect_happens_twice(report):
    assert report.once
    assert report.counted_twice == []


def test_the_chain_verifies_after_all_of_it(report):
    lines = report.chain.splitlines()
    assert lines
    assert all(" ok " in line for line in lines), report.chain


def test_nothing_is_left_over(report):
    assert report.orphans == []
    assert report.folders_left == []
    assert report.groups_left == []
