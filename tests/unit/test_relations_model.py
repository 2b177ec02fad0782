"""The modelling language: both forms say the same, and what cannot be used is refused with its place."""

import json
import random

import pytest

from hive.core.errors import BadInputError
from hive.security.relations.dsl import MODEL_MAX_BYTES, text_of
from hive.security.relations.dsl_json import json_of, read_model
from hive.security.relations.model import AllOf, AnyOf, Computed, Except, Through
from tests.relation_rig import random_model

HEAD = "model\n  schema 1.1\ntype user\ntype group\n  relations\n    define member: [user]\n"


def one_rule(text: str) -> str:
    return f"{HEAD}type document\n  relations\n    define parent: [document]\n    define a: [user]\n    define b: [user]\n    define x: {text}\n"


@pytest.mark.parametrize("seed", range(40))
def test_text_and_json_say_the_same(seed):
    model = random_model(random.Random(seed))
    assert read_model(text_of(model)) == model
    assert read_model(json_of(model).decode()) == model


def test_operators_and_comments_are_read_as_they_stand():
    text = one_rule("[user:*, group#member] or (a and b) or x from parent # who sees it")
    rule = read_model(text).types["document"]["x"]
    assert isinstance(rule, AnyOf)
    assert [str(one) for one in rule.parts[0].types] == ["user:*", "group#member"]
    assert rule.parts[1:] == (AllOf((Computed("a"), Computed("b"))), Through("x", "parent"))
    rule = read_model(one_rule("(a or b) but not (a and b)")).types["document"]["x"]
    assert isinstance(rule, Except)


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("a or b and a", "several operators"),
        ("a but not b but not a", "several operators"),
        ("a but b", "needs `not`"),
        ("(a or b", "not closed"),
        ("a or", "expected in place"),
        ("a b", "not expected there"),
        ("[user] or [group#member]", "several lists"),
        ("[user with cond]", "conditions"),
        ("[stranger]", "no type stranger"),
        ("[group#leader]", "no relation"),
        ("[]", "no type"),
        ("nobody", "no relation nobody"),
        ("member from a", "nothing under a"),
        ("x from b", "nothing under b"),
        ("a from x", "plain list"),
        ("x", "in a circle"),
        ("[user", "not understood"),
        ("(" * 40 + "a" + ")" * 40, "too deeply"),
    ],
)
def test_a_rule_that_cannot_be_used_is_refused(rule, why):
    with pytest.raises(BadInputError) as found:
        read_model(one_rule(rule))
    assert why in found.value.why


@pytest.mark.parametrize(
    "text",
    [
        "",
        "type user",
        "model\n  schema 1.0\ntype user",
        f"{HEAD}type user\n",
        f"{HEAD}condition small(x: int) {{\n  x < 100\n}}\n",
        "module core\ntype user\n",
        f"{HEAD}extend type group\n",
        f"{HEAD}    define member: [user]\n",
        "x" * (MODEL_MAX_BYTES + 1),
        "{",
        '{"schema_version": "1.2", "type_definitions": []}',
        '{"schema_version": "1.1", "type_definitions": [{"type": "a"}, {"type": "a"}]}',
        '{"schema_version": "1.1", "type_definitions": [], "conditions": {"c": {}}}',
        json.dumps(
            {
                "schema_version": "1.1",
                "type_definitions": [{"type": "a", "relations": {"r": {"this": {}, "union": {}}}}],
            }
        ),
    ],
    ids=range(14),
)
def test_a_text_that_is_no_model_is_refused(text):
    with pytest.raises(BadInputError):
        read_model(text)
