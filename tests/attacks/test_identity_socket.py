"""The socket of the Workload API: strangers at it, borrowed connections, floods, and a revocation in the middle."""

import contextlib
import os
import socket
import subprocess
import sys
import threading

import anyio
import grpc
import pytest
from anyio import to_thread
from spiffe import WorkloadApiClient
from spiffe.workloadapi.errors import WorkloadApiError

from hive.core.clock import SystemClock
from hive.security.identity import IssueLimit, IssueQuota
from hive.security.identity.attestation import PeerProcess, attest, peer_of, started_ticks
from hive.security.identity.workload.listener import (
    CONNECTIONS_PER_SANDBOX_MAX,
    UNCLAIMED_MAX_BYTES,
)
from hive.security.identity.workload.messages import WORKLOAD
from tests.workload_rig import DOMAIN, opened_service, served

pytestmark = pytest.mark.anyio
READER = f"spiffe://{DOMAIN}/agent/reader"
HEADER = (("workload.spiffe.io", "true"),)


@pytest.fixture
def stranger():
    """A process that stands for a sandbox: the test itself is not inside."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def method_of(channel, method):
    """Return a method of the Workload API as a bare gRPC client knows it."""
    kind = method.removeprefix("Fetch")
    make = channel.unary_unary if "JWTSVID" in method else channel.unary_stream
    return make(
        f"/SpiffeWorkloadAPI/{method}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=WORKLOAD[f"{kind}Response"].FromString,
    )


def request_of(method, **fields):
    return WORKLOAD[f"{method.removeprefix('Fetch')}Request"](**fields)


def called(url, method="FetchX509SVID", metadata=HEADER, request=None):
    """Call with bare gRPC; return the status code and the first message."""
    with grpc.insecure_channel(url) as channel:
        try:
            answer = method_of(channel, method)(
                request or request_of(method), metadata=metadata, timeout=20
            )
            message = answer if "JWTSVID" in method else next(iter(answer))
        except grpc.RpcError as error:
            return error.code(), error.details()
        return grpc.StatusCode.OK, message


def followed(url, method, began, told, ended=None):
    """Follow a stream to its end; note how and when that came."""
    with grpc.insecure_channel(url) as channel:
        try:
            for _ in method_of(channel, method)(request_of(method), metadata=HEADER, timeout=60):
                began.set()
        except grpc.RpcError as error:
            told.append((error.code(), SystemClock().monotonic()))
    if ended is not None:
        ended.set()


METHODS = (
    "FetchX509SVID",
    "FetchX509Bundles",
    "FetchJWTSVID",
    "FetchJWTBundles",
    "ValidateJWTSVID",
)


@pytest.mark.parametrize("method", METHODS)
async def test_a_process_outside_of_the_sandbox_is_nobody(tmp_path, stranger, method):
    async with opened_service() as service:
        async with served(service, tmp_path, first_process=lambda: stranger.pid) as listener:
            code, said = await to_thread.run_sync(called, listener.url, method)
            assert (code, said) == (grpc.StatusCode.PERMISSION_DENIED, "no identity issued")
        assert not service.events.all
        # The same call from inside is answered: the place alone made the difference.
        async with served(service, tmp_path, sandbox="again", first_process=os.getpid) as listener:
            request = {
                "FetchJWTSVID": request_of("FetchJWTSVID", audience=["a"]),
                "ValidateJWTSVID": request_of("ValidateJWTSVID", audience="a", svid="b"),
            }.get(method)
            code, _ = await to_thread.run_sync(called, listener.url, method, HEADER, request)
            assert code in (grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT)
            assert (code is grpc.StatusCode.OK) == (method != "ValidateJWTSVID")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "metadata", [(), (("workload.spiffe.io", "True"),), (("workload.spiffe.io", "true"),) * 2]
)
async def test_a_call_without_the_mandatory_metadata_is_refused(tmp_path, method, metadata):
    async with opened_service() as service, served(service, tmp_path) as listener:
        code, _ = await to_thread.run_sync(called, listener.url, method, metadata)
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert not service.events.all


def test_a_number_that_was_given_to_another_process_proves_nothing(stranger):
    """Who connected is dead, and its number now belongs to a process inside."""
    gone = subprocess.Popen([sys.executable, "-c", "pass"])
    handle = os.pidfd_open(gone.pid)
    gone.wait()
    reused = PeerProcess(stranger.pid, 0, handle)
    insider = PeerProcess(stranger.pid, 0, os.pidfd_open(stranger.pid))
    try:
        began = started_ticks(stranger.pid)
        assert attest(insider, stranger.pid, began) is None, "by its number alone it is inside"
        assert attest(reused, stranger.pid, began).reason == "whoever connected is gone"
        # The sandbox's own first process is known by when it began as well.
        assert "sandbox" in attest(insider, stranger.pid, began - 1).reason
    finally:
        reused.close()
        insider.close()


def test_a_connection_that_its_maker_left_behind_is_nobodys(tmp_path):
    """A process of the sandbox connects, hands the connection on, and ends."""
    path = tmp_path / "s.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        ours, theirs = socket.socketpair()
        maker = (
            "import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
            "c=socket.socket(fileno=int(sys.argv[2])); socket.send_fds(c,[b'x'],[s.fileno()]); input()"
        )
        child = subprocess.Popen(
            [sys.executable, "-c", maker, str(path), str(theirs.fileno())],
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.PIPE,
        )
        connection, _ = server.accept()
        peer = peer_of(connection)
        assert isinstance(peer, PeerProcess)
        _, handed, _, _ = socket.recv_fds(ours, 1, 1)
        assert attest(peer, child.pid, started_ticks(child.pid)) is None
        child.communicate(b"\n")
        os.write(handed[0], b"still open")
        assert connection.recv(10) == b"still open"
        assert (
            attest(peer, os.getpid(), started_ticks(os.getpid())).reason
            == "whoever connected is gone"
        )
        peer.close()
        os.close(handed[0])
        for one in (connection, ours, theirs):
            one.close()


async def test_a_revocation_ends_open_streams_at_once(tmp_path):
    async with opened_service() as service, served(service, tmp_path) as listener:
        began, ended = threading.Event(), threading.Event()
        told: list[object] = []

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(
                to_thread.run_sync, followed, listener.url, "FetchX509SVID", began, told, ended
            )
            with anyio.fail_after(30):
                await to_thread.run_sync(began.wait)
            at = SystemClock().monotonic()
            await service.revoke(READER, reason="quarantine")
            with anyio.fail_after(30):
                await to_thread.run_sync(ended.wait)
        ((code, heard_at),) = told
        assert code is grpc.StatusCode.PERMISSION_DENIED
        assert heard_at - at < 1.0, "a promise of the product: revocation counts within a second"
        code, _ = await to_thread.run_sync(called, listener.url)
        assert code is grpc.StatusCode.PERMISSION_DENIED


async def test_the_end_of_a_sandbox_ends_its_streams(tmp_path):
    async with opened_service() as service:
        told = []
        began = threading.Event()

        async with anyio.create_task_group() as tasks, served(service, tmp_path) as listener:
            tasks.start_soon(
                to_thread.run_sync, followed, listener.url, "FetchX509Bundles", began, told
            )
            with anyio.fail_after(30):
                await to_thread.run_sync(began.wait)
        assert [code for code, _ in told] == [grpc.StatusCode.PERMISSION_DENIED]


async def test_a_flood_for_tokens_ends_at_the_quota_and_hurts_nobody_else(tmp_path):
    clock = SystemClock()
    quota = IssueQuota(clock, sandbox=IssueLimit(5, 0.0), node=IssueLimit(100, 0.0))
    async with (
        opened_service(quota=quota) as service,
        served(service, tmp_path, agent="greedy") as greedy,
        served(service, tmp_path, agent="reader") as reader,
    ):

        def flood(url):
            request = request_of("FetchJWTSVID", audience=["a"])
            return [called(url, "FetchJWTSVID", HEADER, request)[0] for _ in range(12)]

        codes = await to_thread.run_sync(flood, greedy.url)
        assert codes.count(grpc.StatusCode.OK) == 5
        assert codes[-1] is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await to_thread.run_sync(called, reader.url))[0] is grpc.StatusCode.OK


async def test_many_streams_of_one_sandbox_cost_one_certificate(tmp_path):
    async with opened_service() as service, served(service, tmp_path) as listener:

        def flood():
            return [called(listener.url)[0] for _ in range(20)]

        assert set(await to_thread.run_sync(flood)) == {grpc.StatusCode.OK}
        assert len(service.events.named("svid.issued")) == 1


async def test_connections_of_one_sandbox_are_bounded(tmp_path):
    async with opened_service() as service, served(service, tmp_path) as listener:
        path = listener.url.removeprefix("unix://")
        held = []
        try:
            for _ in range(CONNECTIONS_PER_SANDBOX_MAX + 5):
                stream = await anyio.connect_unix(path)
                held.append(stream)
                with anyio.fail_after(10):
                    with contextlib.suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                        await stream.receive()  # the server's settings, or the end
            assert len(listener.connections) == CONNECTIONS_PER_SANDBOX_MAX
        finally:
            for stream in held:
                await stream.aclose()


async def test_a_message_without_an_end_does_not_fill_the_node(tmp_path):
    async with opened_service() as service, served(service, tmp_path) as listener:
        path = listener.url.removeprefix("unix://")

        def pour():
            import h2.connection
            import h2.exceptions

            sent = 0
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(20)
                sock.connect(path)
                connection = h2.connection.H2Connection()
                connection.initiate_connection()
                headers = [
                    (":method", "POST"), (":scheme", "http"), (":authority", "x"),
                    (":path", "/SpiffeWorkloadAPI/FetchJWTSVID"), ("te", "trailers"),
                    ("content-type", "application/grpc"), HEADER[0],
                ]  # fmt: skip
                connection.send_headers(1, headers)
                connection.send_data(1, b"\x00" + (1 << 30).to_bytes(4, "big"))
                try:
                    while sent < 16 << 20:
                        sock.sendall(connection.data_to_send())
                        room = min(connection.local_flow_control_window(1), 16384)
                        if room:
                            connection.send_data(1, b"x" * room)
                            sent += room
                            continue
                        data = sock.recv(65536)
                        if not data:
                            return sent
                        connection.receive_data(data)
                except OSError:
                    return sent
            return sent

        sent = await to_thread.run_sync(pour)
        assert sent <= UNCLAIMED_MAX_BYTES + (128 << 10)
        assert (await to_thread.run_sync(called, listener.url))[0] is grpc.StatusCode.OK


async def test_the_client_library_sees_a_refusal_and_not_an_identity(tmp_path, stranger):
    async with (
        opened_service() as service,
        served(service, tmp_path, first_process=lambda: stranger.pid) as listener,
    ):

        def ask():
            with WorkloadApiClient(listener.url) as client:
                client.fetch_x509_svid()

        with pytest.raises(WorkloadApiError, match="no identity issued"):
            await to_thread.run_sync(ask)
