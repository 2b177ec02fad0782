"""Agents call by mTLS with whatever they hold, while the authority rotates under them or an identity is revoked.

What is promised is that no call fails and that every wall refuses; how fast is measured by the benchmarks, not here.
"""

import pytest
from benchmarks import identity_rotation, svid_issue

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]


def test_no_call_of_a_thousand_agents_fails_while_the_authority_rotates(monkeypatch):
    monkeypatch.setattr(svid_issue, "TOKENS", 64)
    found = identity_rotation.run_rotations()
    assert found["agents"] == 1000
    assert found["calls_during_rotation"] >= 1000, "each agent calls at least once"
    assert found["failed_calls"] == 0


def test_a_revoked_identity_is_refused_at_every_wall_of_both_nodes(monkeypatch):
    monkeypatch.setattr(identity_rotation, "ROUNDS", 5)
    found = identity_rotation.run_revocations()
    walls = ("workload_stream", "jwt", "peer_port", "gate")
    expected = {f"{wall}_{node}" for wall in walls for node in ("here", "there")}
    assert set(found) == expected | {"everywhere"}
    assert all(len(times) == 5 for times in found.values())
