"""The ground floor of the SDK: one way each to read base64url and JSON, and to remember what was used."""

import json
from binascii import Error as Base64Error

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hive_a2a.base64url import from_base64url_text, to_base64url_text
from hive_a2a.exact_json import RepeatedMemberError, read_exact
from hive_a2a.once import OnceFullError, OnceMemory
from hive_a2a.origins import clean_split


@given(st.binary(max_size=80))
def test_a_text_in_base64url_comes_back_as_it_was(data):
    assert from_base64url_text(to_base64url_text(data)) == data


@pytest.mark.parametrize(
    "text", ["=", "AA==", "A", "AB", "A+", "A/", "A A", "AA\n", "\u00e4A", "é"]
)
def test_a_text_that_is_merely_like_base64url_is_refused(text):
    with pytest.raises(Base64Error):
        from_base64url_text(text)


@pytest.mark.parametrize(
    "data",
    [
        b'{"a": 1, "a": 2}',
        b'{"a": {"b": 1, "b": 1}}',
        b"NaN",
        b"-Infinity",
        b'"\\ud800"',
        b'"\xff"',
        '"a"'.encode("utf-16"),
        b"[" * 100_000,
        b"",
        b"{} {}",
    ],
)
def test_what_two_readers_could_read_differently_is_no_json(data):
    with pytest.raises(ValueError):  # noqa: PT011 - the one error of a reader
        read_exact(data)


def test_the_lenient_reader_takes_the_last_of_two_members():
    twice = b'{"aud": "you", "aud": "me"}'
    assert json.loads(twice) == {"aud": "me"}
    with pytest.raises(RepeatedMemberError):
        read_exact(twice)
    assert read_exact(b'{"a": "\\u00e4", "b": [1.5, null]}') == {"a": "ä", "b": [1.5, None]}


def test_what_was_used_comes_again_only_after_its_end_and_is_never_pushed_out():
    memory = OnceMemory(entries_max=3, per_owner_max=2)
    assert memory.first_use(b"1", until=10, now=0, owner="ann")
    assert not memory.first_use(b"1", until=99, now=9, owner="bob")
    assert memory.first_use(b"2", until=20, now=0, owner="ann")
    with pytest.raises(OnceFullError):
        memory.first_use(b"3", until=20, now=0, owner="ann")
    assert memory.first_use(b"3", until=20, now=0, owner="bob")
    with pytest.raises(OnceFullError):
        memory.first_use(b"4", until=20, now=9, owner="cy")
    assert memory.first_use(b"1", until=30, now=10, owner="ann")
    assert len(memory) == 3


@pytest.mark.parametrize(
    "url",
    [
        "https://a@b/",
        "https://@b/",
        "https://b\\c/",
        "https://b c/",
        "https://b:0/",
        "https://b:x/",
    ],
)
def test_an_address_that_two_readers_could_split_differently_is_not_split(url):
    assert clean_split(url) is None
    assert clean_split("https://b:8443/c") is not None
