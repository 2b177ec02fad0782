"""Arguments that slip past a schema, and schemas that are themselves the attack.

Each attack works where its guard is missing: the same call with a validator that objects to nothing gets
through, and the same schema without the reckoning keeps the library busy.
"""

import time

import jsonschema_rs
import pytest

from hive.core.json import decode, encode
from hive.protocols.mcp.schema_cost import SchemaRefusedError, admit_schema
from hive.protocols.mcp.validation import Validators
from hive.testing.rehearsal_gate import RehearsalGate
from tests.mcp_gateway_rig import PaperHub, call, gateways_on, refused_call, text_of, tool

pytestmark = pytest.mark.anyio
STRICT = {
    "type": "object",
    "properties": {
        "path": {"type": "string", "pattern": "^/data/", "maxLength": 64},
        "mode": {"const": "read"},
    },
    "required": ["path", "mode"],
    "additionalProperties": False,
}
SMUGGLED = {
    "a member more": {"path": "/data/a", "mode": "read", "delete": True},
    "another mode": {"path": "/data/a", "mode": "write"},
    "another place": {"path": "/etc/passwd", "mode": "read"},
    "another type": {"path": ["/data/a"], "mode": "read"},
    "nothing": {},
    "a prototype": {"path": "/data/a", "mode": "read", "__proto__": {"mode": "write"}},
    "too long": {"path": "/data/" + "a" * 100, "mode": "read"},
}


class Lenient(Validators):
    """No guard: nothing is ever wrong."""

    def problem(self, key, schema, value):
        return ""


def opened(gate, validators):
    hub = PaperHub()
    hub.add("files", tool("read", inputSchema=STRICT))
    return hub, gateways_on(hub, gate, "*", validators=validators).all


@pytest.mark.parametrize("name", SMUGGLED)
async def test_arguments_that_the_schema_forbids_reach_the_server_only_without_the_check(name):
    hub, service = opened(RehearsalGate(), Lenient())
    await call(service, "files__read", arguments=SMUGGLED[name])
    assert hub.asked[0][1]["arguments"] == SMUGGLED[name]

    gate = RehearsalGate()
    hub, service = opened(gate, Validators())
    result = await call(service, "files__read", arguments=SMUGGLED[name])
    assert result["isError"] is True
    assert hub.asked == []
    assert gate.calls == []


async def test_what_the_gate_judged_is_what_the_server_gets_and_nothing_beside_it():
    gate = RehearsalGate()
    hub, service = opened(gate, Validators())
    fine = {"path": "/data/a", "mode": "read"}
    beside = {"inputResponses": {"x": {}}, "name2": "files__write", "task": {"ttl": 1}}
    await call(service, "files__read", arguments=fine, **beside)
    [(method, params)] = hub.asked
    assert method == "tools/call"
    assert set(params) == {"name", "arguments", "_meta"}
    assert params["arguments"] == decode(gate.calls[0].attempt.arguments) == fine


async def test_a_state_that_was_not_given_out_brings_nothing_to_a_server():
    hub, service = opened(RehearsalGate(), Validators())
    fine = {"path": "/data/a", "mode": "read"}
    for state in ("x", "", "a.b", 1, {"a": 1}, "é.é"):
        error = await refused_call(service, "files__read", arguments=fine, requestState=state)
        assert error.code == -32602
    assert hub.asked == []


def doubling(steps):
    chain = {
        f"a{n}": {"anyOf": [{"$ref": f"#/$defs/a{n + 1}"}, {"$ref": f"#/$defs/a{n + 1}"}]}
        for n in range(steps)
    }
    return {"$defs": {**chain, f"a{steps}": {"type": "string"}}, "$ref": "#/$defs/a0"}


def seconds_without_guard(steps):
    validator = jsonschema_rs.validator_for(doubling(steps))
    began = time.perf_counter()
    assert not validator.is_valid(1)
    return time.perf_counter() - began


def test_references_that_double_cost_without_bound_where_nobody_reckons_and_nothing_here():
    # Each step doubles the work: what 18 steps cost, 40 cost four million times.
    assert seconds_without_guard(19) > 3 * seconds_without_guard(15)
    began = time.perf_counter()
    assert "not used" in Validators().problem("k", doubling(40), 1)
    assert time.perf_counter() - began < 0.5


FORBIDDEN = {
    "itself": {"$ref": "#"},
    "a circle": {"$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}]}}, "$ref": "#/$defs/a"},
    "a list that doubles": {"items": {"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}},
    "another document": {"$ref": "http://127.0.0.1:9/schema"},
    "a file": {"$ref": "file:///etc/passwd"},
    "a document inside": {"properties": {"a": {"$id": "http://x/", "$ref": "#/y"}}},
    "nowhere": {"$ref": "#/$defs/none"},
    "too deep": decode(b'{"not":' * 60 + b"{}" + b"}" * 60),
}


@pytest.mark.parametrize("name", FORBIDDEN)
def test_a_schema_that_asks_for_too_much_is_not_used(name):
    with pytest.raises(SchemaRefusedError):
        admit_schema(FORBIDDEN[name])
    assert Validators().problem("k", FORBIDDEN[name], {})


FINE = {
    "a tree": {"properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}}},
    "any JSON": {
        "anyOf": [
            {"type": "string"},
            {"type": "array", "items": {"$ref": "#"}},
            {"type": "object", "additionalProperties": {"$ref": "#"}},
        ]
    },
    "an older draft": {"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"},
    "definitions": {"$defs": {"n": {"type": "object"}}, "properties": {"a": {"$ref": "#/$defs/n"}}},
    "an anchor": {"$defs": {"n": {"$anchor": "n", "type": "object"}}, "$ref": "#n"},
    "its own id": {"$id": "https://x.example/s", "type": "object"},
}


@pytest.mark.parametrize("name", FINE)
def test_a_schema_as_people_write_them_is_used(name):
    assert Validators().problem("k", FINE[name], {}) == ""


FORKING = "^(?:a(?!c)|a(?!d))+$"


def seconds_without_limit(pattern, letters):
    options = jsonschema_rs.FancyRegexOptions(backtrack_limit=1 << 40)
    schema = {"type": "string", "pattern": pattern}
    validator = jsonschema_rs.validator_for(schema, pattern_options=options)
    began = time.perf_counter()
    assert not validator.is_valid("a" * letters + "!")
    return time.perf_counter() - began


def test_a_pattern_that_looks_around_doubles_with_each_letter_where_nobody_counts():
    # Eight letters more are 256 times the work: 5000 letters would never end.
    assert seconds_without_limit(FORKING, 20) > 10 * seconds_without_limit(FORKING, 12)


@pytest.mark.parametrize(
    "pattern", ["^(a+)+$", "^(?=a)(a+)+$", "^(a|aa)+$", r"^(?:(a+)+)\1$", FORKING]
)
def test_a_pattern_that_backtracks_without_end_is_bounded(pattern):
    schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": pattern}}}
    began = time.perf_counter()
    assert Validators().problem("k", schema, {"a": "a" * 5000 + "!"})
    assert time.perf_counter() - began < 1.0


async def test_a_tool_whose_schema_cannot_be_used_is_not_called_unchecked():
    hub, gate = PaperHub(), RehearsalGate()
    hub.add("files", tool("read", inputSchema=doubling(40)))
    result = await call(gateways_on(hub, gate, "*").all, "files__read", arguments={})
    assert "not used" in text_of(result)
    assert gate.calls == []


async def test_schemas_of_a_server_that_changes_them_all_the_time_do_not_pile_up():
    validators = Validators(validators_max=10)
    for number in range(50):
        assert validators.problem(f"k{number}", {"const": number}, number) == ""
    assert len(validators._compiled) == 10


def test_two_forms_of_the_same_arguments_are_one_and_two_values_never():
    same = [b'{"a":1,"b":{"c":2,"d":3}}', b'{ "b": {"d":3,"c":2}, "a": 1 }']
    assert len({encode(decode(one)) for one in same}) == 1
    other = [b'{"a":1}', b'{"a":"1"}', b'{"a":[1]}', b'{"a":1.5}', b'{"a":true}', b'{"a":null}']
    assert len({encode(decode(one)) for one in other}) == len(other)
