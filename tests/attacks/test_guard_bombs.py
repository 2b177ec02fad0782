"""Texts made to keep our own rules busy, and a scanner that does not come back: calls go on, and that is told."""

import base64
import gzip
import re

import anyio
import pytest

from hive.core.clock import SystemClock
from hive.security.guardrails import Direction, KnownValues, Leaks, Views, redact
from hive.security.guardrails.drivers import SCANNERS
from hive.security.guardrails.finding import KINDS
from hive.security.guardrails.patterns import problem_of
from hive.testing.clock import StoppedClock

pytestmark = pytest.mark.anyio
SIZE = 1 << 17
BOMBS = {
    "ignore, never followed by what": "ignore all your other previous ",
    "you must, and nothing": "you must now first also ",
    "before you, and nothing": "before you answer, ",
    "markers": "<|system [sys <!-- ![](http://x?a= ",
    "beginnings of tokens": "eyJ-eyJ_eyJhbGciOiJ",
    "beginnings of keys": "sk-sk-sk-ghp_xoxb-AKIA",
    "named values": "password=password_password-",
    "beginnings of private keys": "-----BEGIN PRIVATE KEY-----",
    "addresses": "a@a.a@a.a@",
    "passwords in URLs": "a://a:a://a:",
    "digits": "1 2-3 4 5(6)7.8 ",
    "accounts": "DE89 3704 0044 0532 ",
    "hexadecimal": "0a:1b 2c",
    "base64": "QUJD",
    "percent signs": "%25",
    "entities": "&amp;&#38;",
    "joiners": "a\u200d\u200d",
    "accents": "e\u0301\u0301",
    "brackets": "((((((((",
    "new lines": "\n\n\t ",
    "tags": "\U000e0041",
}


def rules(clock, *, timeout_s):
    return SCANNERS.load("rules:")("rules:", timeout_s=timeout_s, clock=clock)


@pytest.mark.parametrize("bomb", BOMBS, ids=str)
async def test_a_bomb_is_scanned_to_its_end_or_cut_and_others_go_on(bomb):
    text = (BOMBS[bomb] * SIZE)[:SIZE]
    beats = 0

    async def others():
        nonlocal beats
        while True:
            beats += 1
            await anyio.lowlevel.checkpoint()

    with anyio.fail_after(120):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(others)
            for direction in Direction:
                report = await rules(SystemClock(), timeout_s=5.0).scan(text, direction, "x")
                assert len(report.findings) < 1000
            tasks.cancel_scope.cancel()
    assert beats >= 20


@pytest.mark.parametrize("bomb", BOMBS, ids=str)
def test_a_bomb_does_not_stop_redaction_or_the_look_for_known_values(bomb):
    text = (BOMBS[bomb] * SIZE)[:SIZE]
    redact({"text": text}, KINDS)
    known = KnownValues({f"k{n}": f"sk-live-Zq83mVx0LpT7yRc2Wb{n:04}" for n in range(100)})
    assert Leaks().look("eve", Views.of({"text": text}), [known]) is None


async def test_what_takes_too_long_is_itself_a_sign():
    class Late(StoppedClock):
        def monotonic(self):
            self.advance(1.0)
            return super().monotonic()

    report = await rules(Late(), timeout_s=5.0).scan("word " * 50_000, Direction.INWARD, "x")
    assert report.score("injection") == 0.5
    assert report.missing == "the text was cut"


def test_a_packed_bomb_is_not_unpacked():
    bomb = base64.b64encode(gzip.compress(b"0" * 200_000_000)).decode()
    assert sum(map(len, Views(bomb).squeezed)) < 1 << 20


def test_the_patterns_that_such_texts_blow_up_are_not_taken():
    evil = r"(?:a+)+\Z"
    assert re.search(evil, "a" * 15 + "b") is None  # at thirty of them it would not come back
    assert problem_of(evil)
    assert problem_of(r"(?:[a-z]{1,100}){1,100}\Z")
