"""A real SPIRE in place of the node's own authority, by URL alone."""

import json
import shutil
import time
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import pytest
from anyio import to_thread
from cryptography.hazmat.primitives.serialization import Encoding
from spiffe import WorkloadApiClient
from spiffe.workloadapi.errors import WorkloadApiError
from tests.interop.spire_peer import DOMAIN, NODE, running_spire
from tests.workload_rig import Tables, opened_issuer, opened_service, served

from hive.core.errors import ConfigError, IdentityError
from hive.core.ids import AgentId, NodeId, SandboxId
from hive.security.identity.mutual import NodeSvids
from hive.testing.node_process import node_process

pytestmark = [pytest.mark.peers, pytest.mark.anyio]
AGENT = Path(__file__).parents[1] / "end_to_end" / "agents" / "svid_reader.py"
READER = f"spiffe://{DOMAIN}/agent/reader"


@pytest.fixture(scope="module")
def spire(tmp_path_factory):
    with running_spire(tmp_path_factory.mktemp("spire")) as spire:
        spire.entry(READER, "hive:agent:reader")
        yield spire


async def patiently(ask):
    """Ask until SPIRE's agent has heard of its entries, which it looks for every few seconds."""
    with anyio.fail_after(60):
        while True:
            try:
                return await ask()
            except IdentityError:
                await anyio.sleep(0.3)


async def opened(stack, spire):
    async def enter():
        return await stack.enter_async_context(opened_service(url=spire.url, domain=""))

    return await patiently(enter)


async def test_an_agent_gets_spires_svids_through_its_own_socket(spire, tmp_path):
    async with AsyncExitStack() as stack:
        service = await opened(stack, spire)
        assert service.trust_domain == DOMAIN
        probe = service.enrol(SandboxId("probe"), AgentId("reader"))
        first = await patiently(lambda: service.x509(probe))
        assert first.spiffe_id.text == READER
        async with served(service, tmp_path) as listener:

            def ask():
                with WorkloadApiClient(listener.url) as client:
                    svid = client.fetch_x509_svid()
                    token = client.fetch_jwt_svid(audience={"billing"})
                    return svid, token, client.validate_jwt_svid(token.token, "billing")

            svid, token, checked = await to_thread.run_sync(ask)
        assert str(svid.spiffe_id) == str(token.spiffe_id) == str(checked.spiffe_id) == READER
        chain = [one.public_bytes(Encoding.DER) for one in svid.cert_chain]
        fresh = await service.x509(probe)
        assert await service.check_x509(fresh.chain)
        assert len(chain) >= 1
        assert service.events.named("svid.issued")


async def test_an_agent_without_an_entry_is_nobody(spire, tmp_path):
    async with AsyncExitStack() as stack:
        service = await opened(stack, spire)
        async with served(service, tmp_path, agent="stranger") as listener:

            def ask():
                with WorkloadApiClient(listener.url) as client:
                    client.fetch_x509_svid()

            with pytest.raises(WorkloadApiError, match="no identity issued"):
                await to_thread.run_sync(ask)


async def test_the_node_is_a_workload_of_spire_and_cannot_rotate_it(spire):
    async with AsyncExitStack() as stack:
        service = await opened(stack, spire)
        own = NodeSvids(service, NodeId("n"))
        await own.renew()
        assert own.current().spiffe_id == NODE
        assert own.server_context()
        with pytest.raises(IdentityError, match="rotates its own"):
            await service.rotate()


async def test_revoking_here_counts_at_once_whatever_spire_says(spire):
    async with AsyncExitStack() as stack:
        service = await opened(stack, spire)
        enrolment = service.enrol(SandboxId("s"), AgentId("reader"))
        svid = await patiently(lambda: service.x509(enrolment))
        assert await service.check_x509(svid.chain)
        await service.revoke(READER)
        with pytest.raises(IdentityError, match="revoked"):
            await service.check_x509(svid.chain)
        with pytest.raises(IdentityError, match="No identity"):
            await service.x509(enrolment)


async def test_another_trust_domain_than_spires_stops_the_start(spire):

    async def enter():
        demanded = opened_issuer(Tables(), url=spire.url, domain="other.example", demanded=True)
        async with demanded:
            pass

    with pytest.raises(ConfigError, match="not SPIRE's"):
        await patiently(enter)


async def test_a_spire_that_is_away_stops_the_start_with_a_reason(tmp_path):
    with pytest.raises(IdentityError, match="cannot be reached"):
        async with opened_issuer(Tables(), url=f"spire:{tmp_path}/nothing.sock"):
            pass


def test_an_agent_behind_the_walls_of_a_real_node_has_the_identity_that_spire_registered(
    spire, tmp_path
):
    spire.entry(f"spiffe://{DOMAIN}/agent/svid-reader", "hive:agent:svid-reader")
    place = tmp_path / "svid-reader"
    place.mkdir()
    shutil.copy(AGENT, place / "svid_reader.py")
    (place / "hive-agent.toml").write_text(
        'name = "svid-reader"\nentry = "svid_reader.py:answer"\n'
        'requirements = ["spiffe>=0.3.2,<0.4"]\n'
    )
    with node_process(tmp_path / "state", {"HIVE_IDENTITY_URL": spire.url}) as node:
        node.hive("run", str(place), "--yes", timeout_s=170)
        ends_at = time.monotonic() + 60
        while "id" not in (told := json.loads(node.send("svid-reader", "billing").answer)):
            assert time.monotonic() < ends_at, told
            time.sleep(0.5)  # SPIRE's agent looks for new entries every few seconds
        assert told["id"] == told["checked"] == f"spiffe://{DOMAIN}/agent/svid-reader"
        shown = json.loads(node.hive("identity", "show", "--json"))
        assert (shown["trust_domain"], shown["root_key_here"]) == (DOMAIN, False)
