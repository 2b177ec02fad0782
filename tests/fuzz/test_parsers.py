"""Made-up bytes for everything that reads a stranger's: the declared errors come out, and no other."""

import json
import socket
from pathlib import Path

import pytest

from hive.core.call import sha256_hex
from hive.core.errors import (
    BadInputError,
    ConfigError,
    GuestError,
    HiveError,
    IdentityError,
    InvalidIdError,
    SpecError,
)
from hive.core.settings import load_settings
from hive.execution.guest_channel import GuestChannel
from hive.execution.guest_frames import read_frame
from hive.execution.spec_file import parse_spec
from hive.mesh import StaticPeers, agent_inbox, open_envelope, parse_subject, seal, task_queue
from hive.mesh.envelope import open_notice
from hive.protocols.egress.heads import parse_head
from hive.protocols.inbox.body import read_call, read_reply
from tests.fuzz.mutator import fuzz
from tests.unit.test_mesh_envelope import NOW, envelope, node

pytestmark = pytest.mark.fuzz

PART = {"text": "hi", "mediaType": "text/plain", "metadata": {"a": [1, {"b": None}]}}
FRAMES = [
    json.dumps(frame).encode()
    for frame in (
        {"type": "hello", "v": 1, "shape": "function", "streams": True, "skills": []},
        {"type": "unusable", "error": "no", "fix": "yes"},
        {"type": "chunk", "turn": "t", "text": "hello"},
        {"type": "artifact", "turn": "t", "artifact": {"artifactId": "a", "parts": [PART]}},
        {"type": "need_input", "turn": "t", "message": {"parts": [PART]}},
        {"type": "log", "turn": "t", "level": "info", "text": "line"},
        {"type": "done", "turn": "t", "message": {"parts": [PART]}},
        {"type": "failed", "turn": "t", "error": "broke", "canceled": False},
    )
]
HEADS = [
    b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n",
    b"GET http://example.com/a?b=c HTTP/1.1\r\nHost: example.com\r\nAccept: */*\r\n\r\n",
    b"POST http://[::1]:80/ HTTP/1.1\r\nHost: [::1]:80\r\nContent-Length: 3\r\n"
    b"Proxy-Authorization: Basic eDp5\r\n\r\n",
]
SETTINGS = [
    b'mode = "production"\nport = 8700\nwalls_min = ["landlock"]\nanonymous = false\n',
    b'host = "127.0.0.1"\ndisk_floor_bytes = 1\nrequest_timeout_s = 1.5\nindex_hosts = []\n',
]
SPECS = [
    b'name = "a"\nentry = "agent.py:agent"\nrequirements = ["x>=1"]\n[needs]\nhosts = ["a.io:443"]\n'
    b'paths = ["data:ro"]\n[limits]\nmemory_bytes = 1\n[environment]\nA = "b"\n',
    b'command = ["a", "b"]\n[[skills]]\nid = "s"\nname = "S"\ndescription = "d"\ntags = ["t"]\n',
]


def test_guest_frames():
    fuzz(FRAMES, read_frame, allowed=GuestError)


@pytest.mark.anyio
async def test_guest_channel(anyio_backend):
    def speak(data: bytes) -> None:
        near, far = socket.socketpair()
        broken: list[HiveError] = []
        with near, far:
            channel = GuestChannel(near, on_broken=broken.append)
            channel.receive(len(FRAMES[0]).to_bytes(4, "big") + FRAMES[0])
            channel.receive(data)
            if broken:
                raise broken[0]

    framed = [len(frame).to_bytes(4, "big") + frame for frame in FRAMES]
    # A second frame outside of a turn is refused, whatever it says; an unfinished one waits.
    fuzz([*framed, b"", b"\0\0\0", framed[2][:9]], speak, allowed=HiveError)


def test_heads_of_the_way_out():
    fuzz(HEADS, lambda data: parse_head(data[:-4]) and parse_head(data), allowed=BadInputError)


def test_envelopes():
    sender, audience = node("node-a"), node("node-b")
    peers = StaticPeers([sender.public, audience.public])
    good = [
        seal(envelope(sender, audience, b"body"), b"body", keys=sender, audience=audience.public)
    ]
    subject = "hive.agents.reader.inbox"

    def opened(data: bytes) -> None:
        open_envelope(data, keys=audience, peers=peers, subject=subject, now=NOW)

    opened(good[0])
    fuzz(good, opened, allowed=(IdentityError, BadInputError))
    fuzz([*good, b"{}"], lambda data: _notice(data, subject, peers), allowed=_NO_NOTICE)


class _NoticeRefusedError(Exception):
    """A notice was refused as it should be."""


_NO_NOTICE = _NoticeRefusedError


def _notice(data: bytes, subject: str, peers: StaticPeers) -> None:
    try:
        open_notice(data, subject=subject, peers=peers)
    except (IdentityError, BadInputError) as error:
        if sha256_hex(data)[0] in "01234567":  # both ways are seen, so that `fuzz` is content
            raise _NO_NOTICE from error


def test_bodies_of_the_inbox():
    call = {"message_id": "m", "parts": [{"text": "hi"}]}
    reply = {"call_id": "c", "task_id": "t", "state": "completed"}
    good = [json.dumps(call).encode(), json.dumps(reply).encode()]

    def read(data: bytes) -> None:
        for one in (read_call, read_reply):
            try:
                one(data)
            except BadInputError:
                continue
        json.loads(data)  # tells the good from the bad

    fuzz(good, read, allowed=(ValueError, RecursionError))


def test_settings(tmp_path: Path):
    file = tmp_path / "hive.toml"

    def read(data: bytes) -> None:
        file.write_bytes(data)
        load_settings({"HOME": str(tmp_path)}, file=file)

    fuzz(SETTINGS[1:], read, allowed=ConfigError)
    with pytest.raises(ConfigError):
        read(SETTINGS[0])


def test_agents_own_files():
    def read(data: bytes) -> None:
        parse_spec(data.decode("utf-8", "replace"))

    fuzz(SPECS, read, allowed=SpecError)


def test_subjects():
    good = [b"hive.agents.a.inbox", b"hive.tasks.b", b"hive.groups.c.events", b"hive.broadcast"]
    fuzz(good, lambda data: parse_subject(data.decode("latin-1")), allowed=InvalidIdError)

    def build(data: bytes) -> None:
        for text in (agent_inbox(data.decode("latin-1")), task_queue(data.decode("latin-1"))):
            assert not set(text) & set("*> \t\r\n\0")
            assert parse_subject(text)

    fuzz([b"agent", b"summarise"], build, allowed=InvalidIdError)
