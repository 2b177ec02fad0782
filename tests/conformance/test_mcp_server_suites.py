"""The official server suites of both revisions against the front, with the `everything` service behind it."""

import pytest
from tests.conformance.serve_everything import everything_front
from tests.conformance.suites import NEW, OLD, run_server_suite

pytestmark = [pytest.mark.anyio, pytest.mark.peers]


@pytest.mark.parametrize(("revision", "checks"), [(OLD, 38), (NEW, 195)])
async def test_no_check_of_the_official_server_suite_fails(revision: str, checks: int) -> None:
    async with everything_front() as (url, _, _):
        result = await run_server_suite(url, revision)
    assert result.failures == ()
    assert result.warnings == ()
    assert result.passed >= checks, result.output


async def test_a_stream_that_broke_is_taken_up_again() -> None:
    async with everything_front() as (url, _, _):
        result = await run_server_suite(
            url, OLD, scenarios=["server-sse-polling", "json-schema-2020-12"]
        )
    assert result.failures == ()
    assert result.warnings == ()
    assert result.passed >= 6, result.output
