"""A real nats-server that knows SPIFFE ids only: foreign authorities, strangers, wrong subjects, a false server."""

import os
import signal
import subprocess
from contextlib import asynccontextmanager

import anyio
import nats
import nats.errors
import pytest

from hive.core.errors import ConfigError, InvalidIdError
from hive.core.ids import AgentId, NodeId, SandboxId
from hive.core.settings import Settings
from hive.engines import open_messaging
from hive.engines.binaries import find_nats
from hive.security.identity.bus_accounts import bus_configuration, permissions_of
from hive.security.identity.mutual import NodeSvids, tls_svid
from hive.security.identity.ports import SpiffeId
from hive.testing.node_process import free_port
from hive_a2a.identity.svid import GivenSvids
from hive_a2a.identity.tls import client_context
from tests.identity_rig import Authority
from tests.workload_rig import DOMAIN, opened_service

pytestmark = [pytest.mark.anyio, pytest.mark.peers]
SERVER = f"spiffe://{DOMAIN}/agent/nats"
NODE = f"spiffe://{DOMAIN}/node/n-1"
READER = f"spiffe://{DOMAIN}/agent/reader"


@asynccontextmanager
async def running(service, folder, *, shown="nats"):
    """Run a server that shows the SVID of the agent `shown`."""
    binary = find_nats(Settings(state_dir=str(folder)), remembered_in=folder / "binaries.json")
    svid = await agents_svid(service, shown)
    for name, data in (("cert", svid.chain_pem), ("key", svid.key_pem), ("roots", svid.bundle_pem)):
        (folder / f"{name}.pem").write_bytes(data)  # the server is somebody else's program
    members = [SpiffeId(one) for one in (NODE, READER, "spiffe://other.example/node/n-1")]
    text = bus_configuration(
        members,
        certificate=f"{folder}/cert.pem",
        key=f"{folder}/key.pem",
        roots=f"{folder}/roots.pem",
    )
    port = free_port()
    (folder / "nats.conf").write_text(
        f'listen: "127.0.0.1:{port}"\njetstream {{ store_dir: "{folder}/js" }}\n{text}'
    )
    with (folder / "nats.log").open("wb") as log:
        process = subprocess.Popen(
            [binary.program, "-c", str(folder / "nats.conf")], stdout=log, stderr=log
        )
        try:
            with anyio.fail_after(30):
                while b"Server is ready" not in (folder / "nats.log").read_bytes():
                    assert process.poll() is None, (folder / "nats.log").read_text()
                    await anyio.sleep(0.05)
            yield port
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()


async def agents_svid(service, name):
    svid = await service.x509(service.enrol(SandboxId(f"s-{os.urandom(4).hex()}"), AgentId(name)))
    return tls_svid(svid, await service.bundle())


class Noted(list):
    """What the client was told, and a way to wait for it."""

    def __init__(self):
        super().__init__()
        self.changed = anyio.Event()

    async def reached(self, count):
        while len(self) < count:
            await self.changed.wait()
            self.changed = anyio.Event()


@asynccontextmanager
async def connected(port, context, **more):
    errors = Noted()

    async def note(error):
        errors.append(error)
        errors.changed.set()

    client = await nats.connect(
        f"tls://127.0.0.1:{port}", tls=context, error_cb=note, allow_reconnect=False,
        connect_timeout=5, max_reconnect_attempts=1, **more,
    )  # fmt: skip
    try:
        yield client, errors
    finally:
        await client.close()


async def test_a_node_works_on_the_bus_with_its_svid_alone_and_goes_on_after_a_rotation(tmp_path):
    async with opened_service() as service, running(service, tmp_path) as port:
        own = NodeSvids(service, NodeId("n-1"))
        await own.renew()
        url = f"nats://127.0.0.1:{port}?server={SERVER}"
        settings = Settings(state_dir=str(tmp_path), mesh_url=url)
        async with open_messaging(settings, client_tls=own.client_context) as messaging:
            bucket = await messaging.key_value("hive-test")
            await bucket.put("a", b"1")
            assert (await bucket.get("a")).value == b"1"
        await service.rotate()
        await own.renew()
        async with open_messaging(settings, client_tls=own.client_context) as messaging:
            assert (await (await messaging.key_value("hive-test")).get("a")).value == b"1"


async def test_an_agent_reaches_its_own_subjects_and_no_others(tmp_path):
    async with opened_service() as service, running(service, tmp_path) as port:
        context = client_context(GivenSvids(await agents_svid(service, "reader")))
        async with connected(port, context, inbox_prefix=b"_INBOX_reader") as (client, errors):
            await client.publish("hive.agents.reader.status", b"up")
            await client.flush()
            assert errors == []
            await client.publish("hive.agents.writer.inbox", b"x")
            await client.flush()
            await client.subscribe("hive.>")
            await client.flush()
            with anyio.fail_after(30):  # the client tells of each in a task of its own
                await errors.reached(2)
        assert len(errors) == 2
        assert all("permissions violation" in str(one).lower() for one in errors)


async def test_another_authority_of_the_same_name_and_unknown_ids_do_not_get_in(tmp_path):
    async with opened_service() as service, running(service, tmp_path) as port:
        trusted = await agents_svid(service, "reader")
        forged = Authority(DOMAIN).svid("/agent/reader")
        forged = forged.__class__(
            forged.spiffe_id, forged.chain_pem, forged.key_pem, trusted.bundle_pem, forged.ends_at
        )
        for svid in (forged, await agents_svid(service, "stranger")):
            with pytest.raises((nats.errors.Error, OSError)):
                async with connected(port, client_context(GivenSvids(svid))):
                    pass


async def test_a_false_server_of_the_same_trust_domain_gets_nothing(tmp_path):
    """Any agent's SVID is a server's certificate too; only the id tells who answers."""
    async with opened_service() as service, running(service, tmp_path, shown="writer") as port:
        own = NodeSvids(service, NodeId("n-1"))
        await own.renew()
        with pytest.raises((nats.errors.Error, OSError)):
            async with connected(port, own.client_context(SERVER)):
                pass
        # The chain alone would have been enough for it.
        async with connected(port, client_context(own)):
            pass


async def test_the_bus_by_svid_needs_an_identity(tmp_path):
    settings = Settings(state_dir=str(tmp_path), mesh_url=f"nats://127.0.0.1:1?server={SERVER}")
    with pytest.raises(ConfigError, match="TLS by SVID"):
        async with open_messaging(settings):
            pass


@pytest.mark.parametrize(
    "path", ["agent/a.b", "agent/a_b", "agent/A", "agent/a/b", "tool/x", "node"]
)
def test_an_id_cannot_widen_its_subjects(path):
    with pytest.raises(InvalidIdError):
        permissions_of(SpiffeId(f"spiffe://{DOMAIN}/{path}"))
