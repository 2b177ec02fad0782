"""Subjects and envelopes: what is built is read back, and nothing else is."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hive.core.call import sha256_hex
from hive.core.errors import BadInputError, InvalidIdError, TooLargeError
from hive.core.ids import AgentId, NodeId
from hive.mesh import (
    Envelope,
    NodeKeys,
    Sender,
    StaticPeers,
    SubjectKind,
    agent_inbox,
    agent_status,
    broadcast,
    group_events,
    open_envelope,
    parse_subject,
    seal,
    task_queue,
)
from hive.mesh.envelope import ENVELOPE_MAX_BYTES, lifetime
from hive_a2a.crypto import new_key

NOW = datetime(2026, 1, 2, tzinfo=UTC)
NAMES = st.from_regex(r"[a-z0-9][a-z0-9-]{0,62}", fullmatch=True)


def node(name):
    return NodeKeys(node=NodeId(name), signing=new_key(), sealing=new_key())


def envelope(sender, audience, body, **change):
    issued_ms, expires_ms = lifetime(NOW, seconds=60)
    fields = {
        "call_id": "call-1",
        "sender": sender.node,
        "audience": audience.node,
        "subject": "hive.agents.reader.inbox",
        "principal": Sender(kind="agent", name="planner", owner="alice", agent="planner"),
        "issued_ms": issued_ms,
        "expires_ms": expires_ms,
        "body_hash": sha256_hex(body),
        "nonce": "n-1",
        **change,
    }
    return Envelope(**fields)


@given(NAMES)
def test_every_subject_is_read_back_as_what_it_was_built_of(name):
    for kind, subject in (
        (SubjectKind.INBOX, agent_inbox(AgentId(name))),
        (SubjectKind.STATUS, agent_status(AgentId(name))),
        (SubjectKind.TASKS, task_queue(name)),
        (SubjectKind.GROUP, group_events(name)),
    ):
        parsed = parse_subject(subject)
        assert (parsed.kind, parsed.name) == (kind, name)
    assert parse_subject(broadcast()).kind is SubjectKind.BROADCAST


@given(st.text())
def test_no_name_can_widen_or_shift_a_subject(text):
    for build in (agent_inbox, agent_status, task_queue, group_events):
        try:
            subject = build(text)
        except InvalidIdError:
            continue
        assert subject.isascii()
        assert not set("*> \t\r\n") & set(subject)
        assert parse_subject(subject).name == text


@pytest.mark.parametrize(
    "text", ["*", ">", "", "a.b", "a b", "A", "a*", "é", "a\n", "a.inbox", "-a"]
)
@pytest.mark.parametrize("build", [agent_inbox, agent_status, task_queue, group_events])
def test_a_wildcard_or_separator_in_a_name_is_refused(build, text):
    with pytest.raises(InvalidIdError):
        build(text)


@pytest.mark.parametrize(
    "subject",
    [
        "",
        "hive",
        "hive.agents.*.inbox",
        "hive.agents.>",
        "hive.agents.a.outbox",
        "x.agents.a.inbox",
    ],
)
def test_a_foreign_subject_is_not_read(subject):
    with pytest.raises(InvalidIdError):
        parse_subject(subject)


@given(st.binary(max_size=2000))
def test_what_is_sealed_is_opened_by_its_audience(body):
    sender, receiver = node("a"), node("b")
    sealed = seal(envelope(sender, receiver, body), body, keys=sender, audience=receiver.public)
    opened, content = open_envelope(
        sealed,
        subject="hive.agents.reader.inbox",
        keys=receiver,
        peers=StaticPeers([sender.public]),
        now=NOW,
    )
    assert content == body
    assert opened.principal.owner == "alice"
    assert len(body) < 16 or body not in sealed


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_as_bad_input(data):
    receiver = node("b")
    with pytest.raises(BadInputError):
        open_envelope(data, subject="s", keys=receiver, peers=StaticPeers([]), now=NOW)


def test_an_envelope_cannot_be_sealed_in_another_nodes_name_or_for_another_body():
    sender, receiver = node("a"), node("b")
    for wrong in (
        envelope(receiver, receiver, b"x"),
        envelope(sender, sender, b"x"),
        envelope(sender, receiver, b"y"),
    ):
        with pytest.raises(BadInputError):
            seal(wrong, b"x", keys=sender, audience=receiver.public)


def test_a_body_that_is_too_large_is_not_sealed():
    sender, receiver = node("a"), node("b")
    body = b"x" * ENVELOPE_MAX_BYTES
    with pytest.raises(TooLargeError):
        seal(envelope(sender, receiver, body), body, keys=sender, audience=receiver.public)


def test_keys_never_print():
    keys = node("a")
    assert keys.signing.hex() not in repr(keys)
    assert repr(keys.signing) not in repr(keys)
