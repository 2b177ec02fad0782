"""What two runs may differ in, and that nothing else hides behind it."""

import json
from uuid import UUID, uuid4

import pytest

from hive.kernel.masks import first_difference, masked

REQUEST = {
    "model": "gpt",
    "created": 1_763_800_000,
    "messages": [
        {"role": "system", "content": "Be brief. Today is 2026-11-22T10:20:30Z."},
        {"role": "user", "content": f"order {UUID(int=1)}: weigh 20 kg of honey"},
        {
            "role": "assistant",
            "tool_calls": [
                {"id": "call_1234abcd", "function": {"name": "weigh_2", "arguments": "{}"}}
            ],
        },
        {
            "role": "tool",
            "tool_call_id": "call_1234abcd",
            "content": "it is 20 kg, trace 0123456789abcdef",
        },
    ],
    "tools": [{"name": "weigh_2", "parameters": {"properties": {"kg": {"type": "integer"}}}}],
}


def changed(old: str, new: str) -> bytes:
    text = json.dumps(REQUEST)
    assert old in text
    return text.replace(old, new).encode()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (str(UUID(int=1)), "3cd9fb7e-ab85-4b7b-bb4f-90702f8f41a3"),
        ("2026-11-22T10:20:30Z", "2027-01-02T03:04:05.678+01:00"),
        ("1763800000", "1763899999"),
        ("call_1234abcd", "call_zz99"),
        ("0123456789abcdef", "fedcba9876543210"),
    ],
)
def test_what_is_drawn_anew_is_no_difference(old, new):
    assert first_difference(json.dumps(REQUEST).encode(), changed(old, new)) is None


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        ("Be brief", "Be kind", "messages[0].content"),
        ("weigh 20 kg", "weigh 21 kg", "messages[1].content"),
        ("it is 20 kg", "it is 21 kg", "messages[3].content"),
        ('"integer"', '"number"', "tools[0].parameters.properties.kg.type"),
        ("weigh_2", "weigh_3", "messages[2].tool_calls[0].function.name"),
        ('"gpt"', '"gpt-2"', "model"),
        ('"role": "tool"', '"role": "user"', "messages[3].role"),
        ("2026-11-22T10:20:30Z", "2026-11-22", "messages[0].content"),
        ("0123456789abcdef", "0123456789012345", "messages[3].content"),
        (str(UUID(int=1)), "none", "messages[1].content"),
    ],
)
def test_a_word_a_number_a_schema_and_a_result_are_differences(old, new, path):
    found = first_difference(json.dumps(REQUEST).encode(), changed(old, new))
    assert found.path == path
    assert found.expected != found.actual


def test_ids_that_change_places_are_a_difference():
    one, other = str(uuid4()), str(uuid4())
    there = json.dumps([one, other, one]).encode()
    assert first_difference(there, json.dumps([other, one, other]).encode()) is None
    assert first_difference(there, json.dumps([one, other, other]).encode()).path == "[2]"


def test_something_that_is_missing_or_too_much_is_told():
    assert first_difference(b'{"a":1,"b":2}', b'{"a":1}').actual == "(not there)"
    assert first_difference(b"[1]", b"[1,2]").expected == "(not there)"
    assert first_difference(b"[1]", b"[true]").path == "[0]"


def test_a_difference_is_shown_from_where_the_texts_part_without_control_characters():
    long = "x" * 1000
    found = first_difference(
        json.dumps([f"{long} one \x1b[31m"]).encode(), json.dumps([f"{long} two"]).encode()
    )
    assert "one" in found.expected
    assert "two" in found.actual
    assert "\x1b" not in found.expected
    assert len(found.expected) <= 160


def test_every_mask_that_took_something_out_is_named():
    assert set(masked(json.dumps(REQUEST).encode()).found.values()) == {
        "uuid",
        "time",
        "epoch",
        "id-key",
        "hex",
    }
