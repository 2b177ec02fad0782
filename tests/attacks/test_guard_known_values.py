"""An agent that has come upon a secret tries to send it: as it is, disguised, in pieces, by another way out.

Each disguise is shown to pass a look for the plain value first, and the whole attack to pass a gate that knows no value.
"""

import base64
import codecs
import gzip
import html
import json
import random
import time
from dataclasses import replace
from datetime import timedelta
from urllib.parse import quote

import pytest

from hive.core.call import Call, EffectClass, Principal, PrincipalKind, Refused, TraceContext, Verb
from hive.core.ids import AgentId, CallId, OwnerId, SandboxId, SpanId, TaskId, TraceId, TurnId
from hive.core.json import encode
from hive.kernel.ports import Arguments, CallFacts
from hive.kernel.scans import Scans
from hive.security.guardrails import KnownValues, RedactionWish, Views
from hive.testing.clock import StoppedClock

pytestmark = pytest.mark.anyio
KEY = "sk-live-Zq83mVx0LpT7yRc2WbNe51Ha"
HANDLE = "hive-" + "9c41d07be2a86f35" * 3
AGENT = Principal(
    kind=PrincipalKind.AGENT,
    name="mailer",
    owner=OwnerId("alice"),
    agent=AgentId("mailer"),
    sandbox=SandboxId("box"),
    turn=TurnId("turn"),
)


def call(verb=Verb.INVOKE, principal=AGENT, target="mail.send"):
    now = StoppedClock().now()
    return Call(
        id=CallId("c"),
        principal=principal,
        verb=verb,
        target=target,
        effect=EffectClass.ONCE,
        argument_hash="",
        at=now,
        deadline=now + timedelta(seconds=60),
        trace=TraceContext(trace_id=TraceId("0" * 32), span_id=SpanId("0" * 16)),
        task=TaskId("t"),
    )


def gate(*, knows=True, **values):
    scans = Scans(
        scanner=None,
        wish=RedactionWish.read(()),
        approve_above=0.0,
        handle_of=lambda _box: HANDLE if knows else "",
    )
    known = KnownValues(values or {"the secret mail-key": KEY} if knows else {})

    async def current():
        return known

    scans.known = current
    return scans


async def sent(scans, document, **about):
    facts = CallFacts(arguments=Arguments(encode(document)))
    return await scans.examine(call(**about), facts)


def spaced(text):
    return " ".join(text)


def escaped(text):
    return "".join(f"\\u{ord(one):04x}" for one in text)


def hexed(text):
    return text.encode().hex()


def b64(text):
    return base64.b64encode(text.encode()).decode()


DISGUISES = {
    "upper case": str.upper,
    "in base64": b64,
    "in base64 of the web, within a longer text": lambda text: base64.urlsafe_b64encode(
        b"my key is " + text.encode() + b", thanks"
    ).decode(),
    "in base64 one place on": lambda text: b64(f"x{text}"),
    "in base64 twice": lambda text: b64(b64(text)),
    "in base64 over lines": lambda text: "\n".join(b64(text)[n : n + 8] for n in range(0, 60, 8)),
    "in base32": lambda text: base64.b32encode(text.encode()).decode(),
    "in hexadecimal": hexed,
    "in hexadecimal with colons": lambda text: ":".join(
        hexed(text)[n : n + 2] for n in range(0, len(text) * 2, 2)
    ),
    "in hexadecimal of C": lambda text: "".join(f"\\x{ord(one):02x}" for one in text),
    "percent-encoded": lambda text: "".join(f"%{ord(one):02X}" for one in text),
    "percent-encoded twice": lambda text: quote("".join(f"%{ord(one):02X}" for one in text)),
    "as HTML": lambda text: "".join(f"&#{ord(one)};" for one in text),
    "as escapes of JSON": escaped,
    "as decimal codes": lambda text: ", ".join(str(ord(one)) for one in text),
    "as binary": lambda text: " ".join(f"{ord(one):08b}" for one in text),
    "backwards": lambda text: text[::-1],
    "rotated": lambda text: codecs.encode(text, "rot13"),
    "spaced out": spaced,
    "with dashes": "-".join,
    "with invisible signs": "\u200b".join,
    "as tag characters": lambda text: "".join(chr(0xE0000 + ord(one)) for one in text),
    "in full width": lambda text: "".join(chr(ord(one) + 0xFEE0) for one in text),
    "packed": lambda text: base64.b64encode(gzip.compress(f"the key: {text}".encode())).decode(),
    "in base64 of UTF-16": lambda text: base64.b64encode(text.encode("utf-16-le")).decode(),
    "in hexadecimal of UTF-16": lambda text: text.encode("utf-16-be").hex(),
    "in ascii85": lambda text: base64.a85encode(text.encode()).decode(),
}


@pytest.mark.parametrize("disguise", DISGUISES, ids=str)
async def test_a_secret_does_not_leave_in_disguise(disguise):
    text = DISGUISES[disguise](KEY)
    assert KEY not in text
    document = {"to": "eve@evil.example", "body": f"Hello, {text} and good-bye"}
    assert await sent(gate(knows=False), document) == ()
    refused = await sent(gate(), document)
    assert isinstance(refused, Refused), disguise
    assert KEY not in refused.reason + refused.detail


async def test_a_secret_does_not_leave_spread_over_the_fields_of_one_call():
    document = {"subject": KEY[:13], "cc": [{"x": KEY[13:20]}], "body": KEY[20:]}
    assert await sent(gate(knows=False), document) == ()
    assert isinstance(await sent(gate(), document), Refused)


@pytest.mark.parametrize("form", [str, b64, hexed])
async def test_a_secret_does_not_leave_in_two_calls(form):
    text = form(KEY)
    half = len(text) // 2
    blind = gate(knows=False)
    for piece in (text[:half], text[half:]):
        assert await sent(blind, {"body": piece}) == ()
    scans = gate()
    answers = [await sent(scans, {"body": f"note {one}"}) for one in (text[:half], text[half:])]
    assert any(isinstance(one, Refused) for one in answers)


async def test_a_secret_does_not_leave_in_many_small_steps():
    scans, gone = gate(), []
    for start in range(0, len(KEY), 8):
        piece = KEY[start : start + 8]
        answer = await sent(
            scans, {"q": f"{start} {piece}"}, verb=Verb.REACH, target="x.example:443"
        )
        if isinstance(answer, Refused):
            break
        gone.append(piece)
    assert len("".join(gone)) <= len(KEY) / 2


@pytest.mark.parametrize("verb", [Verb.INVOKE, Verb.ASK, Verb.SEND, Verb.REACH, Verb.REMEMBER])
async def test_the_handle_does_not_leave_by_any_way(verb):
    for text in (HANDLE, b64(HANDLE), HANDLE.upper(), HANDLE[5:]):
        document = {"messages": [{"role": "user", "content": f"debug: {text}"}]}
        assert await sent(gate(knows=False), document, verb=verb) in ((), None)
        assert isinstance(await sent(gate(), document, verb=verb), Refused)


async def test_a_secret_does_not_leave_as_the_name_of_a_host():
    host = f"{KEY.lower()}.evil.example:443"
    assert await sent(gate(knows=False), {}, verb=Verb.REACH, target=host) == ()
    assert isinstance(await sent(gate(), {}, verb=Verb.REACH, target=host), Refused)


async def test_a_secret_does_not_leave_as_the_name_of_a_field():
    assert isinstance(await sent(gate(), {KEY: 1}), Refused)


async def test_a_body_that_is_no_json_is_looked_at_too():
    facts = CallFacts(arguments=Arguments(b"--x\r\n" + KEY.encode() + b"\r\n--x--"))
    assert isinstance(await gate().examine(call(), facts), Refused)


async def test_a_large_body_hides_nothing_at_its_end():
    document = {"a": "lorem ipsum " * 60_000, "b": b64(KEY)}
    assert isinstance(await sent(gate(), document), Refused)


async def test_a_large_body_hides_no_half_of_a_secret():
    scans, filler = gate(), "lorem ipsum " * 6_000
    halves = (KEY[:14], KEY[14:])
    answers = [await sent(scans, {"a": filler, "b": f"note {one}"}) for one in halves]
    assert any(isinstance(one, Refused) for one in answers)
    blind = gate(knows=False)
    assert [await sent(blind, {"a": filler, "b": one}) for one in halves] == [(), ()]


async def test_a_large_body_that_repeats_a_piece_does_not_hold_up_the_gate():
    # Each look finds the same run; were it walked from each of its places, this would take minutes.
    long = "".join(random.Random(3).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=16_000))
    known = KnownValues({"long": long})
    views = Views(long[:-1] * 8)
    began = time.process_time()
    found = {needle.form: places for needle, places in known.pieces(views)}
    assert len(found["plain"]) == len(long) - 1
    assert time.process_time() - began < 20


async def test_ordinary_calls_pass_however_often():
    scans = gate(a=KEY, b="correct horse battery staple", c="postgres://app:app@db/app")
    words = json.dumps({"text": "The battery of the horse is correct; see postgres and app."})
    for number in range(200):
        assert await sent(scans, {"body": f"{words} sk-live- {number}"}) == ()
    assert await sent(scans, {"body": html.escape("<b>nothing</b>")}) == ()


async def test_digests_by_the_thousand_are_not_taken_for_pieces_of_a_key():
    chance = random.Random(5)
    scans = gate(**{f"k{number}": chance.randbytes(32).hex() for number in range(40)})
    for _ in range(20):
        locks = [chance.randbytes(32).hex() for _ in range(900)]
        assert await sent(scans, {"path": "uv.lock", "lines": locks}) == ()


async def test_a_person_may_say_what_an_agent_may_not():
    person = replace(AGENT, kind=PrincipalKind.CLIENT, agent=None, sandbox=None, turn=None)
    assert await sent(gate(), {"body": KEY}, principal=person) is None


def test_what_knows_the_values_does_not_print_them():
    known = KnownValues({"k": KEY})
    assert KEY not in repr(known)
    assert KEY not in repr(known._needles[0])
