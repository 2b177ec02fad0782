"""What of the identity settings stops a start, and what a sandbox finds in its environment."""

from contextlib import AsyncExitStack

import pytest

from hive.core.clock import SystemClock
from hive.core.errors import ConfigError
from hive.core.grant import Grant
from hive.core.ids import AgentId, SandboxId
from hive.core.randomness import SystemRandomness
from hive.core.settings import Settings
from hive.kernel.turns import TurnBook
from hive.node.identity import EarlyIdentity, SandboxIdentities
from hive.node.state import StateFolder
from tests.workload_rig import Tables, opened_service

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "wrong",
    [
        {"svid_ttl_s": 0.0},
        {"svid_ttl_s": 1e9},
        {"svid_ttl_s": float("nan")},
        {"trust_domain": "Not A Domain"},
        {"trust_domain": "a.example/x"},
        {"identity_url": "nothing:"},
        {"identity_url": "acme:http://plain.example"},
        {"identity_url": "spire:"},
    ],
)
async def test_a_setting_that_cannot_be_used_stops_the_start(tmp_path, wrong):
    settings = Settings(state_dir=str(tmp_path), **wrong)
    state = StateFolder(settings, SystemClock(), SystemRandomness())
    async with AsyncExitStack() as stack:
        early = EarlyIdentity(
            stack, settings, state, clock=SystemClock(), randomness=SystemRandomness()
        )
        with pytest.raises(ConfigError):
            await early.begin(Tables())


async def test_an_agents_sandbox_has_a_socket_and_a_builders_has_none(tmp_path):
    turns = TurnBook(SystemRandomness())
    turns.bind(SandboxId("one"), AgentId("reader"), Grant())
    turns.bind(SandboxId("two"), AgentId("builder-x"), Grant(), builds=True)
    async with opened_service() as service:
        identities = SandboxIdentities(service, turns, lambda _sandbox: 0)
        async with identities.listen(SandboxId("one"), tmp_path) as environment:
            assert environment == {"SPIFFE_ENDPOINT_SOCKET": "unix:///run/hive/identity.sock"}
            assert (tmp_path / "identity.sock").is_socket()
            assert set(service.enrolled()) == {"one"}
        assert not service.enrolled()
        for name in ("two", "unknown"):
            (tmp_path / name).mkdir()
            async with identities.listen(SandboxId(name), tmp_path / name) as environment:
                assert environment == {}
                assert not list((tmp_path / name).iterdir())
