"""The loopback forwarder: everything arrives, half-closed connections too, and nobody is buffered for."""

import os
import socket
import threading
import time
from contextlib import closing, contextmanager

import pytest

from hive_guest.forward import BUFFER_MAX_BYTES, serve

MIB = 1 << 20


@contextmanager
def forwarder(path, **options):
    """Run a forwarder in a thread until the block is left; give the port."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ready = threading.Event()
    reading, writing = os.pipe()
    thread = threading.Thread(
        target=serve,
        args=({port: str(path)},),
        kwargs={"ready": ready.set, "watch": (reading, lambda: False), **options},
    )
    thread.start()
    assert ready.wait(5)
    try:
        yield port
    finally:
        os.write(writing, b"x")
        thread.join(5)
        assert not thread.is_alive()
        os.close(reading)
        os.close(writing)


@contextmanager
def listener(path):
    with closing(socket.socket(socket.AF_UNIX)) as sock:
        sock.bind(str(path))
        sock.listen(8)
        sock.settimeout(5)
        yield sock


def connect(port):
    sock = socket.create_connection(("127.0.0.1", port), timeout=5)
    sock.settimeout(5)
    return sock


def read_all(sock):
    data = bytearray()
    while piece := sock.recv(MIB):
        data += piece
    return bytes(data)


def send_until_blocked(sock, limit):
    taken = 0
    while taken < limit:
        try:
            taken += sock.send(b"x" * MIB)
        except TimeoutError:
            break
    return taken


def test_a_request_that_ends_its_sending_side_still_gets_its_answer(tmp_path):
    path = tmp_path / "gate.sock"
    sent = os.urandom(8 * MIB)
    received = []

    def answer(server):
        far, _ = server.accept()
        with far:
            far.settimeout(5)
            received.append(read_all(far))  # ends only if the half-close came through
            far.sendall(received[0][::-1])

    with listener(path) as server, forwarder(path) as port:
        thread = threading.Thread(target=answer, args=(server,))
        thread.start()
        with closing(connect(port)) as near:
            near.sendall(sent)
            near.shutdown(socket.SHUT_WR)
            assert read_all(near) == sent[::-1]
        thread.join(5)
    assert received == [sent]


def test_a_slow_reader_makes_the_sender_wait_instead_of_filling_memory(tmp_path):
    path = tmp_path / "gate.sock"
    with listener(path) as server, forwarder(path) as port, closing(connect(port)) as near:
        far, _ = server.accept()
        with far:
            near.settimeout(0.5)
            taken = send_until_blocked(near, 64 * MIB)
            # Two kernel buffers and the forwarder's own; the rest was not taken from the sender.
            assert taken < BUFFER_MAX_BYTES + 16 * MIB
            far.settimeout(5)
            near.shutdown(socket.SHUT_WR)
            assert len(read_all(far)) == taken


def test_more_connections_than_allowed_wait_until_one_ends(tmp_path):
    path = tmp_path / "gate.sock"
    with listener(path) as server, forwarder(path, connections_max=2) as port:
        first, second, third = connect(port), connect(port), connect(port)
        accepted = [server.accept()[0], server.accept()[0]]
        server.settimeout(0.2)
        with pytest.raises(TimeoutError):
            server.accept()
        first.close()
        accepted[0].close()
        server.settimeout(5)
        accepted.append(server.accept()[0])
        third.sendall(b"at last")
        assert accepted[2].recv(64) == b"at last"
        for sock in (second, third, *accepted):
            sock.close()


def test_a_reset_on_one_side_closes_the_other_and_leaves_the_rest_alone(tmp_path):
    path = tmp_path / "gate.sock"
    with listener(path) as server, forwarder(path) as port:
        doomed, kept = connect(port), connect(port)
        doomed.sendall(b"a")
        kept.sendall(b"b")
        both = {far.recv(1): far for far in (server.accept()[0], server.accept()[0])}
        doomed.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        doomed.close()  # a reset, not an orderly end
        both[b"a"].settimeout(5)
        assert both[b"a"].recv(1) == b""
        both[b"b"].sendall(b"still here")
        assert kept.recv(64) == b"still here"
        for sock in (kept, *both.values()):
            sock.close()


def test_a_node_that_does_not_listen_refuses_and_one_that_comes_back_is_found(tmp_path):
    path = tmp_path / "gate.sock"
    with forwarder(path) as port:
        with closing(connect(port)) as near:
            assert near.recv(1) == b""
        with listener(path) as server, closing(connect(port)) as near:
            far, _ = server.accept()
            near.sendall(b"hello")
            assert far.recv(64) == b"hello"
            far.close()


def test_a_full_backlog_is_waited_for(tmp_path):
    path = tmp_path / "gate.sock"
    with closing(socket.socket(socket.AF_UNIX)) as server:
        server.bind(str(path))
        server.listen(0)
        server.settimeout(5)
        with forwarder(path) as port:
            clients = [connect(port) for _ in range(4)]
            for number, client in enumerate(clients):
                client.sendall(b"%d" % number)
            time.sleep(0.05)  # let the backlog fill before anybody is accepted
            heard = set()
            for _ in clients:
                far = server.accept()[0]
                heard.add(far.recv(1))
                far.close()
            assert heard == {b"0", b"1", b"2", b"3"}
            for client in clients:
                client.close()


def test_an_answer_of_the_watcher_keeps_it_running(tmp_path):
    path = tmp_path / "gate.sock"
    seen = []
    reading, writing = os.pipe()
    ended = threading.Event()

    def run():
        serve({}, watch=(reading, on_signal))
        ended.set()

    def on_signal():
        seen.append(os.read(reading, 1))
        return seen[-1] != b"q"

    thread = threading.Thread(target=run)
    thread.start()
    os.write(writing, b"a")
    os.write(writing, b"b")
    assert not ended.wait(0.1)
    os.write(writing, b"q")
    assert ended.wait(5)
    thread.join(5)
    assert seen == [b"a", b"b", b"q"]
    assert not path.exists()
    os.close(reading)
    os.close(writing)
