"""Canonical JSON by the vectors of RFC 8785, and cards written as both official SDKs write them."""

import json
import math
import struct

import pytest
from a2a.types import AgentCard
from hypothesis import given
from hypothesis import strategies as st

from hive_a2a.cards.errors import CardError, CardFault
from hive_a2a.cards.jcs import (
    DEPTH_MAX,
    SAFE_INT_MAX,
    canonical_card,
    canonical_json,
    card_hash,
    empty_required,
    exact_card,
)
from tests.cards_rig import as_dict, from_dict, refusal, whole_card

# RFC 8785, appendix B: the bits of a double, and how it is written.
NUMBERS = {
    "0000000000000000": "0",
    "8000000000000000": "0",
    "0000000000000001": "5e-324",
    "8000000000000001": "-5e-324",
    "7fefffffffffffff": "1.7976931348623157e+308",
    "ffefffffffffffff": "-1.7976931348623157e+308",
    "4340000000000000": "9007199254740992",
    "c340000000000000": "-9007199254740992",
    "4430000000000000": "295147905179352830000",
    "44b52d02c7e14af5": "9.999999999999997e+22",
    "44b52d02c7e14af6": "1e+23",
    "44b52d02c7e14af7": "1.0000000000000001e+23",
    "444b1ae4d6e2ef4e": "999999999999999700000",
    "444b1ae4d6e2ef4f": "999999999999999900000",
    "444b1ae4d6e2ef50": "1e+21",
    "3eb0c6f7a0b5ed8c": "9.999999999999997e-7",
    "3eb0c6f7a0b5ed8d": "0.000001",
    "41b3de4355555553": "333333333.3333332",
    "41b3de4355555554": "333333333.33333325",
    "41b3de4355555555": "333333333.3333333",
    "41b3de4355555556": "333333333.3333334",
    "41b3de4355555557": "333333333.33333343",
    "becbf647612f3696": "-0.0000033333333333333333",
    "43143ff3c1cb0959": "1424953923781206.2",
}
LITERALS = r"""{
  "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
  "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
  "literals": [null, true, false]
}"""
LITERALS_WRITTEN = (
    '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
    r'"string":"€$\u000f\nA' + "'" + r'B\"\\\\\"/"}'
)
SORTED = {
    "\u20ac": "Euro Sign",
    "\r": "Carriage Return",
    "\ufb33": "Hebrew Letter Dalet With Dagesh",
    "1": "One",
    "\U0001f600": "Emoji: Grinning Face",
    "\u0080": "Control",
    "\u00f6": "Latin Small Letter O With Diaeresis",
}


@pytest.mark.parametrize(("bits", "written"), NUMBERS.items())
def test_a_number_is_written_as_the_standard_lists_it(bits, written):
    (number,) = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical_json(number).decode() == written


def test_the_example_of_the_standard_is_written_as_it_says():
    assert canonical_json(json.loads(LITERALS)).decode() == LITERALS_WRITTEN


def test_members_are_sorted_by_utf_16_units():
    assert list(json.loads(canonical_json(SORTED))) == [
        "\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33",
    ]  # fmt: skip


def test_every_control_character_is_escaped_in_its_one_way():
    text = "".join(map(chr, range(0x21))) + "\x7f\u2028"
    assert canonical_json(text).decode() == (
        '"\\u0000\\u0001\\u0002\\u0003\\u0004\\u0005\\u0006\\u0007\\b\\t\\n\\u000b\\f\\r\\u000e\\u000f'
        "\\u0010\\u0011\\u0012\\u0013\\u0014\\u0015\\u0016\\u0017\\u0018\\u0019\\u001a\\u001b\\u001c"
        '\\u001d\\u001e\\u001f \x7f\u2028"'
    )


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, -math.inf, SAFE_INT_MAX + 1, -SAFE_INT_MAX - 1, "\ud800", {"\udc00": 1}, {1: 2}, b"x", {3}],
)  # fmt: skip
def test_what_is_not_json_has_no_canonical_form(value):
    with pytest.raises(CardError) as refused:
        canonical_json(value)
    assert refusal(refused) is CardFault.MALFORMED


def test_nesting_is_bounded():
    def nested(levels):
        value = []
        for _ in range(levels - 1):
            value = [value]
        return value

    assert canonical_json(nested(DEPTH_MAX)) == b"[" * DEPTH_MAX + b"]" * DEPTH_MAX
    with pytest.raises(CardError):
        canonical_json(nested(DEPTH_MAX + 1))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-SAFE_INT_MAX, SAFE_INT_MAX)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_canonical_json_means_the_same_and_writes_itself(value):
    written = canonical_json(value)
    # A JSON number is a double (RFC 8785, 3.2.2.3), however it is written.
    read = json.loads(written, parse_int=float)
    assert read == value
    assert canonical_json(read) == written


@given(st.dictionaries(st.text(), st.integers(0, 9), min_size=1))
def test_the_order_of_members_does_not_matter(value):
    turned = dict(reversed(value.items()))
    assert canonical_json(turned) == canonical_json(value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_keeps_all_its_bits(number):
    assert float(canonical_json(number)) == number


def test_a_card_is_written_without_signatures_and_empty_values():
    card = whole_card()
    card.signatures.add(protected="p", signature="s")
    written = json.loads(canonical_card(card))
    assert "signatures" not in written
    odd = written["capabilities"]["extensions"][0]["params"]
    assert odd["list"] == ["a", 0]
    assert "nothing" not in odd
    assert written["securityRequirements"] == [{"schemes": {"oauth": {"list": ["read"]}}}]
    assert json.loads(exact_card(card))["securityRequirements"][0] == {"schemes": {"bearer": {}}}
    assert canonical_card(AgentCard()) == b"{}"


def test_a_card_that_nests_too_deeply_has_no_canonical_form():
    # Three levels of the card are around the parameters.
    params = {}
    for _ in range(DEPTH_MAX - 3):
        params = {"a": params}
    card = AgentCard()
    card.capabilities.extensions.add().params.update(params)
    with pytest.raises(CardError):
        canonical_card(card)


def test_the_hash_of_a_card_leaves_out_its_signatures_alone():
    card, signed, other = whole_card(), whole_card(), whole_card(version="1.2.1")
    signed.signatures.add(protected="p", signature="s")
    assert card_hash(card) == card_hash(signed) != card_hash(other)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"name": ""}, "name"),
        ({"capabilities": {}}, "capabilities"),
        ({"skills": []}, "skills"),
        ({"defaultInputModes": [""]}, "defaultInputModes"),
        ({"provider": {"url": "https://a"}}, "provider.organization"),
        ({"skills": [{"id": "s", "name": "n", "description": "d"}]}, "skills[0].tags"),
        (
            {"securitySchemes": {"k": {"apiKeySecurityScheme": {"location": "header"}}}},
            "securitySchemes[k].apiKeySecurityScheme.name",
        ),
    ],
)
def test_an_empty_required_member_is_found_where_it_is(change, place):
    assert empty_required(whole_card()) == ()
    assert empty_required(whole_card(**change)) == (place,)


def test_a_card_survives_being_read_and_written():
    assert from_dict(as_dict(whole_card())) == whole_card()
