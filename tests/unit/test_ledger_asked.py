"""What was asked, packed for the record: the same each time, bounded, and redacted before it is stored."""

import os

import pytest

from hive.core.errors import ConfigError, LedgerError
from hive.ledger.asked import AskedKeeper, unpack


@pytest.mark.parametrize("size", [1, 2047, 2048, 100_000])
def test_arguments_come_back_and_equal_ones_are_equal_bytes(size):
    arguments = os.urandom(size // 2 + 1) + b"a" * (size // 2)
    keeper = AskedKeeper()
    packed = keeper.pack(arguments)
    assert packed == keeper.pack(arguments)
    assert unpack(packed).arguments == arguments
    assert not unpack(packed).redacted


def test_long_arguments_are_stored_small():
    assert len(AskedKeeper().pack(b"the same words again " * 1000)) < 1000


def test_what_a_rule_matches_is_never_stored_and_that_is_said():
    packed = AskedKeeper(redactions=("sk-[a-z0-9]+",)).pack(b'{"key":"sk-abc123"}' * 200)
    found = unpack(packed)
    assert b"sk-abc123" not in found.arguments
    assert b"[redacted]" in found.arguments
    assert found.redacted


def test_nothing_is_stored_where_only_results_are_kept():
    assert AskedKeeper(kept=False).pack(b"question") is None


def test_a_rule_that_is_none_stops_the_start():
    with pytest.raises(ConfigError, match="regular expression"):
        AskedKeeper(redactions=("[",))


@pytest.mark.parametrize("content", [b"", b"\x07abc", b"\x01not zlib"])
def test_what_was_not_packed_here_is_not_read(content):
    with pytest.raises(LedgerError):
        unpack(content)


def test_a_small_content_cannot_become_a_huge_one():
    import zlib

    with pytest.raises(LedgerError):
        unpack(b"\x01" + zlib.compress(b"\0" * (32 << 20)))
