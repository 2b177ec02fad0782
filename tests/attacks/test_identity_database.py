"""A real PostgreSQL that lets in nobody without a node's certificate, and a node that speaks to nobody but its database.

The server runs with `ssl=on`, its own certificate of an ordinary authority, and `pg_hba.conf` lines with `cert`, which
demand a client certificate of the trust domain whose common name is mapped to the role.
"""

import os
import shutil
import signal
import ssl
import subprocess
import tempfile
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import asyncpg
import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from hive.core.clock import SystemClock
from hive.core.errors import ConfigError, EngineError
from hive.core.ids import AgentId, NodeId, SandboxId
from hive.core.randomness import SystemRandomness
from hive.engines import load_migrations
from hive.engines.open import open_database
from hive.node.database_svid import FILE
from hive.node.identity import EarlyIdentity
from hive.node.state import StateFolder
from hive.security.identity.mutual import tls_svid
from hive.testing.engines import settings_in
from hive.testing.node_process import free_port
from hive_a2a.identity.svid import GivenSvids
from hive_a2a.identity.tls import client_context
from tests.identity_rig import Authority
from tests.workload_rig import opened_service

pytestmark = [pytest.mark.anyio, pytest.mark.peers]
ROLE = "hive_node"
HBA = """
local   all all                          scram-sha-256
hostssl all hive_owner 127.0.0.1/32      scram-sha-256
hostssl all hive_node  127.0.0.1/32      cert map=nodes
"""
IDENT = "nodes /^node/[-0-9a-z]+$ hive_node\n"


@dataclass
class Server:
    """A running server: where it is, who vouches for it, and its owner's password."""

    data: Path
    port: int
    roots: Path
    password: str
    pid: int = 0

    def url(self, user=ROLE, *, password="", host="127.0.0.1", **query):
        login = f"{user}:{password}" if password else user
        given = {"svid": "on", "sslmode": "verify-full", "sslrootcert": str(self.roots), **query}
        text = "&".join(f"{name}={value}" for name, value in given.items() if value)
        return f"postgresql://{login}@{host}:{self.port}/hive?{text}"

    async def as_owner(self, database="hive"):
        return await asyncpg.connect(
            host="127.0.0.1", port=self.port, user="hive_owner", password=self.password,
            database=database, ssl=ssl.create_default_context(cafile=str(self.roots)),
        )  # fmt: skip

    async def trust(self, roots_pem: bytes):
        """Let the server believe clients of these roots from now on."""
        self.write("clients.pem", roots_pem)
        owner = await self.as_owner()
        await owner.execute("SELECT pg_reload_conf()")
        await owner.close()

    async def asked(self, svid):
        """Connect as the role of nodes with this SVID; return who the server takes it for."""
        context = client_context(GivenSvids(replace(svid, bundle_pem=self.roots.read_bytes())))
        connection = await asyncpg.connect(
            host="127.0.0.1", port=self.port, user=ROLE, database="hive", ssl=context
        )
        try:
            return await connection.fetchval("SELECT session_user::text")
        finally:
            await connection.close()

    def write(self, name, data):
        path, owner = self.data / name, self.data.stat()
        path.write_bytes(data)
        path.chmod(0o600)
        os.chown(path, owner.st_uid, owner.st_gid)


def server_certificate(folder: Path):
    """Return an ordinary certificate for a host, its key, and the file of its authority."""
    authority = Authority("dns.example")
    chain, key = authority.leaf()  # agent.example and 127.0.0.1
    roots = folder / "server-roots.pem"
    roots.write_bytes(authority.bundle)
    return chain, key, roots


def program(name: str) -> str:
    """Return a program of a PostgreSQL that was built with TLS, which the embedded one need not be."""
    places = [Path(one).parent for one in filter(None, [shutil.which("pg_config")])]
    for place in (*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True), *places):
        if (place / "postgres").exists() and "libssl" in _needs(place / "postgres"):
            return str(place / name)
    pytest.skip("PostgreSQL with TLS is missing: apt-get install postgresql")


def _needs(binary: Path) -> str:
    return subprocess.run(["ldd", str(binary)], capture_output=True, text=True, check=False).stdout


@asynccontextmanager
async def running(folder: Path):
    """Run a server with TLS; whom it believes is said before the first client comes."""
    chain, key, roots = server_certificate(folder)
    home, port = Path(tempfile.mkdtemp(prefix="hive-tls-")), free_port()
    user = 65534 if os.geteuid() == 0 else os.geteuid()
    os.chown(home, user, user if os.geteuid() == 0 else -1)
    data, password = home / "data", "p" * 20
    (home / "password").write_text(password)
    (home / "password").chmod(0o644)
    as_whom = {"user": user} if os.geteuid() == 0 else {}
    subprocess.run(
        [program("initdb"), "-D", str(data), "-U", "hive_owner", "-A", "scram-sha-256",
         "--pwfile", str(home / "password"), "--no-sync", "--no-locale", "-E", "UTF8"],
        check=True, capture_output=True, cwd=home, **as_whom,
    )  # fmt: skip
    server = Server(data, port, roots, password)
    for name, content in (
        ("server.pem", chain),
        ("server.key", key),
        ("clients.pem", roots.read_bytes()),
        ("pg_hba.conf", HBA.encode()),
        ("pg_ident.conf", IDENT.encode()),
    ):
        server.write(name, content)
    options = {
        "listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": home, "ssl": "on",
        "ssl_cert_file": "server.pem", "ssl_key_file": "server.key", "ssl_ca_file": "clients.pem",
        "ssl_min_protocol_version": "TLSv1.3", "fsync": "off", "shared_buffers": "16MB",
    }  # fmt: skip
    words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [program("postgres"), "-D", str(data), *words],
            stdout=log,
            stderr=log,
            cwd=home,
            **as_whom,
        )
        server.pid = process.pid
        try:
            with anyio.fail_after(60):
                while b"ready to accept" not in (home / "log").read_bytes():
                    assert process.poll() is None, (home / "log").read_text()
                    await anyio.sleep(0.05)
            owner = await server.as_owner("postgres")
            await owner.execute("CREATE DATABASE hive")
            await owner.close()
            yield server
        finally:
            process.send_signal(signal.SIGQUIT)
            process.wait()
            shutil.rmtree(home, ignore_errors=True)


def state_in(folder: Path, url: str):
    settings = settings_in(folder, database_url=url)
    return settings, StateFolder(settings, SystemClock(), SystemRandomness())


async def started(settings, state, *, server=None):
    """Do what a node does at its start as far as its database goes; return what it finds, and its bundle.

    It vouches for a `server` that is given, which shows that from its next reload on.
    """
    clock, randomness = SystemClock(), SystemRandomness()
    async with AsyncExitStack() as stack:
        early = EarlyIdentity(stack, settings, state, clock=clock, randomness=randomness)
        database = await stack.enter_async_context(
            open_database(
                settings,
                migrations=load_migrations("hive.security"),
                database_tls=early.database.context,
            )
        )
        await early.begin(database)
        service = early._identity.service
        bundle = await service.bundle()
        if server is not None:
            made = tls_svid(await service.for_service("postgres", 3600.0), bundle)
            server.write("server.pem", made.chain_pem)
            server.write("server.key", made.key_pem)
        async with database.transaction() as transaction:
            await transaction.execute(
                "SET LOCAL ROLE NONE"
            )  # who works here sees no other's connection
            rows = await transaction.fetch(
                "SELECT session_user::text AS login, client_dn AS dn, version AS tls"
                " FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
            )
        return dict(rows[0]), bundle


def pem(bundle) -> bytes:
    return b"".join(
        x509.load_der_x509_certificate(one).public_bytes(Encoding.PEM) for one in bundle.roots
    )


async def first_start(server, folder):
    """Begin with a password; from now on the server believes the node's authority. Return settings and state."""
    settings, state = state_in(folder, server.url("hive_owner", password=server.password))
    found, bundle = await started(settings, state)
    assert (found["login"], found["dn"]) == ("hive_owner", None)
    owner = await server.as_owner()
    await owner.execute(f"CREATE ROLE {ROLE} LOGIN SUPERUSER")
    await owner.close()
    await server.trust(pem(bundle))
    return replace_url(settings, server.url()), state


def replace_url(settings, url):
    return msgspec.structs.replace(settings, database_url=url)


async def test_a_node_reaches_its_database_by_its_own_svid_and_without_a_password(tmp_path):
    async with running(tmp_path) as server:
        settings, state = await first_start(server, tmp_path / "node")
        found, _ = await started(settings, state)
        assert found == {"login": ROLE, "dn": f"/CN=node/{state.node_id}", "tls": "TLSv1.3"}
        kept = (state.path / FILE).read_bytes()
        assert b"PRIVATE" not in kept
        assert b"CERTIFICATE" not in kept, "sealed"


async def test_both_sides_show_an_svid_and_no_file_of_roots_is_needed(tmp_path):
    async with running(tmp_path) as server:
        settings, state = await first_start(server, tmp_path / "node")
        _, bundle = await started(settings, state, server=server)
        domain = bundle.trust_domain
        server.write("clients.pem", pem(bundle))
        os.kill(server.pid, signal.SIGHUP)
        by_id = {"sslmode": "", "svid": "", "sslrootcert": ""}
        right = server.url(server=f"spiffe://{domain}/service/postgres", **by_id)
        wrong = server.url(server=f"spiffe://{domain}/service/other", **by_id)
        with anyio.fail_after(30):
            while (found := await _login_by(replace_url(settings, right), state)) is None:  # noqa: ASYNC110 - a server tells nobody
                await anyio.sleep(0.05)
        assert found == ROLE
        assert await _login_by(replace_url(settings, wrong), state) is None


async def _login_by(settings, state):
    try:
        found, _ = await started(settings, state)
    except EngineError:
        return None
    return found["login"]


async def test_without_a_certificate_the_server_refuses(tmp_path):
    async with running(tmp_path) as server:
        settings, state = await first_start(server, tmp_path / "node")
        (state.path / FILE).unlink()
        with pytest.raises(EngineError):
            await started(settings, state)
        with pytest.raises(asyncpg.PostgresError, match="client certificate"):
            await asyncpg.connect(
                host="127.0.0.1", port=server.port, user=ROLE, database="hive",
                ssl=ssl.create_default_context(cafile=str(server.roots)),
            )  # fmt: skip
        with pytest.raises(asyncpg.PostgresError):
            await asyncpg.connect(
                host="127.0.0.1", port=server.port, user=ROLE, database="hive", ssl=False
            )


async def test_an_agents_svid_of_the_same_authority_does_not_open_the_database(tmp_path):
    """It has no common name, so the map knows it as nobody; with the node's common name it would be let in."""
    async with running(tmp_path) as server, opened_service(domain="hive.example") as service:
        await first_start(server, tmp_path / "node")
        await server.trust(pem(await service.bundle()))
        enrolment = service.enrol(SandboxId("s"), AgentId("reader"))
        agent = tls_svid(await service.x509(enrolment), await service.bundle())
        peer = service.enrol_node(NodeId("n-1"))
        named = await service.for_service(NodeId("n-1"), 3600.0, "node")
        bus = tls_svid(await service.for_service("nats", 3600.0), await service.bundle())
        port_own = tls_svid(await service.x509(peer), await service.bundle())
        for nobody in (agent, bus, port_own):
            with pytest.raises(asyncpg.PostgresError, match="no user name|authentication failed"):
                await server.asked(nobody)
        assert await server.asked(tls_svid(named, await service.bundle())) == ROLE


async def test_another_authority_that_names_itself_alike_does_not_open_the_database(tmp_path):
    async with running(tmp_path) as server:
        settings, state = await first_start(server, tmp_path / "node")
        async with opened_service(domain=f"node-{state.node_id[-12:]}.hive.internal") as false:
            forged = tls_svid(
                await false.for_service(state.node_id, 3600.0, "node"), await false.bundle()
            )
            with pytest.raises((OSError, asyncpg.PostgresError)):
                await server.asked(forged)
        found, _ = await started(settings, state)
        assert found["login"] == ROLE, "the true one is let in"


async def test_the_node_sends_nothing_to_a_server_that_another_authority_vouches_for(tmp_path):
    async with running(tmp_path) as server:
        settings, state = await first_start(server, tmp_path / "node")
        other = tmp_path / "other.pem"
        other.write_bytes(Authority("dns.example").bundle)
        wrong = replace_url(settings, server.url(sslrootcert=str(other)))
        with pytest.raises(EngineError) as refused:
            await started(wrong, state)
        assert isinstance(refused.value.__cause__.__cause__, ssl.SSLCertVerificationError) or (
            "SSL" in refused.value.why
        )


async def test_the_node_sends_nothing_to_a_server_of_another_name_or_another_id(tmp_path):
    async with running(tmp_path) as server:
        settings, state = await first_start(server, tmp_path / "node")
        for url in (
            server.url(host="localhost"),  # its certificate says agent.example and 127.0.0.1
            server.url(server="spiffe://dns.example/service/postgres"),
        ):
            with pytest.raises(EngineError):
                await started(replace_url(settings, url), state)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://a@h/d?svid=on",
        "postgresql://a@h/d?svid=on&sslmode=require&sslrootcert=/x",
        "postgresql://a@h/d?svid=on&sslmode=disable&sslrootcert=/x",
        "postgresql://a@h/d?svid=yes&sslrootcert=/x",
        "postgresql://a@h/d?svid=on&sslrootcert=/x&sslcert=/y",
        "postgresql://a@/d?svid=on&sslrootcert=/x&host=/run/postgresql",
        "postgresql://a@h/d?svid=on&sslrootcert=/x&host=other",
        "postgresql://a@h/d?svid=on&sslrootcert=/nowhere.pem",
        "postgresql://a@h/d?server=spiffe://x.example/y",
    ],
)
async def test_a_url_that_would_verify_less_is_refused_before_anything_is_sent(tmp_path, url):
    settings, state = state_in(tmp_path, url)
    with pytest.raises(ConfigError):
        await started(settings, state)
