"""The hub as a client of the official suites: every scenario of both revisions that a gateway can be put to."""

import sys
from pathlib import Path

import pytest
from tests.conformance.suites import NEW, OLD, run_client_suite

pytestmark = pytest.mark.anyio
HERE = Path(__file__)
COMMAND = f"env PYTHONPATH={HERE.parents[2]} {sys.executable} {HERE.with_name('hub_client.py')}"
OF_SESSIONS = ["initialize", "tools_call", "elicitation-sep1034-client-defaults", "sse-retry"]
PRESERVED = "json-schema-2020-12-preservation"
SCENARIOS = {
    (OLD, OLD): OF_SESSIONS,
    (OLD, NEW): [*OF_SESSIONS, PRESERVED],
    (NEW, NEW): [
        PRESERVED,
        "tools_call",
        "request-metadata",
        "sep-2322-client-request-state",
        "http-standard-headers",
        "http-custom-headers",
        "http-invalid-tool-headers",
        "json-schema-ref-no-deref",
    ],
}


@pytest.mark.parametrize(("revision", "edition"), SCENARIOS)
async def test_no_check_of_the_suite_fails(revision, edition):
    names = SCENARIOS[revision, edition]
    result = await run_client_suite(COMMAND, revision, scenarios=names, edition=edition)
    assert result.failures == (), result.output
    assert result.warnings == (), result.output
    assert set(result.scenarios) == set(names)
    assert result.passed >= len(names)
