"""The runner of the official client suites, with the official package's client as the one under test."""

import sys
from pathlib import Path

import pytest
from tests.conformance.suites import OLD, run_client_suite

pytestmark = [pytest.mark.anyio, pytest.mark.peers]
ROOT = Path(__file__).parents[2]


async def test_the_client_suite_says_what_a_client_does_right_and_wrong() -> None:
    program = f"env PYTHONPATH={ROOT} {sys.executable} -m tests.conformance.official_client"
    right = await run_client_suite(program, OLD, scenarios=["initialize", "tools_call"])
    assert right.failures == (), right.output
    assert right.passed >= 2
    wrong = await run_client_suite("true", OLD, scenarios=["initialize"])
    assert wrong.failures == ("initialize: no check ran",)
