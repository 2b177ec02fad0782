"""An agent reads orders and data apart; a message without marks is a person's."""

from hive.security.guardrails.separated import EXTENSION
from hive_guest.parts import SEPARATED, data_of, instructions_of, text_of


def part(text, role=None):
    mark = {} if role is None else {"metadata": {SEPARATED: {"role": role}}}
    return {"text": text, **mark}


def test_orders_and_data_are_apart():
    message = {"parts": [part("sum up", "instruction"), part("a page", "data"), {"data": 1}]}
    assert (instructions_of(message), data_of(message)) == ("sum up", "a page")
    assert text_of(message) == "sum up\na page"


def test_without_marks_all_of_it_is_asked():
    message = {"parts": [part("a"), part("b")]}
    assert (instructions_of(message), data_of(message)) == ("a\nb", "")
    assert instructions_of({"parts": [{"text": "x", "metadata": {SEPARATED: "data"}}]}) == "x"


def test_both_sides_name_the_extension_alike():
    assert SEPARATED == EXTENSION
