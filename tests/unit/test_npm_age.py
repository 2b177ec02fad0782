"""Of a package's versions the newest that is old enough is taken, and nothing that only says so."""

from datetime import UTC, datetime

import pytest

from hive.core.errors import BuildError
from hive.execution.npm_age import aged_version, before_option

AT = datetime(2026, 3, 10, tzinfo=UTC)


def view(latest: str = "2.0.0", **times: str) -> dict:
    named = {one.replace("v", "").replace("_", "."): time for one, time in times.items()}
    return {"dist-tags": {"latest": latest, "next": "3.0.0"}, "time": named}


def test_the_tagged_version_is_taken_where_it_is_old_enough():
    assert aged_version(view(v2_0_0="2026-03-09T00:00:00.000Z"), "", AT) == "2.0.0"
    assert aged_version(view(), "", AT) == "2.0.0", "its age is not told"


def test_else_the_highest_below_it_that_is():
    said = view(
        v1_9_0="2026-03-01T00:00:00.000Z",
        v1_10_0="2026-03-02T00:00:00.000Z",
        v1_11_0="2026-03-12T00:00:00.000Z",
        v2_0_0="2026-03-11T00:00:00.000Z",
        v3_0_0="2026-01-01T00:00:00.000Z",
    )
    said["time"]["2.0.0-rc.1"] = "2026-01-01T00:00:00.000Z"
    said["time"]["created"] = said["time"]["modified"] = "2020-01-01T00:00:00.000Z"
    assert aged_version(said, "", AT) == "1.10.0"
    assert aged_version(said, "next", AT) == "3.0.0"


@pytest.mark.parametrize(
    "said",
    [
        view(v2_0_0="2026-03-11T00:00:00.000Z"),
        view(v2_0_0="yesterday"),
        view(v2_0_0="2026-03-01T00:00:00"),
        view(latest="", v1_0_0="2026-03-11T00:00:00.000Z"),
        None,
        [],
        {"time": 3, "dist-tags": "x"},
    ],
)
def test_where_none_is_nothing_is_taken(said):
    with pytest.raises(BuildError, match="old enough"):
        aged_version(said, "", AT)


def test_npm_is_told_a_moment_of_the_world_and_not_of_this_place():
    assert before_option(AT) == ("--before=2026-03-10T00:00:00Z",)
    assert before_option(None) == ()
