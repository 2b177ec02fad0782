"""What a warrant says to a call: names, conditions, the closed world, time."""

from datetime import timedelta

import pytest

from hive.core.call import Verb
from hive.core.grant import Grant, HostRule
from hive.security.capability import objection
from tests.warrant_rig import ALL, DAY, NOW, invoke, reach, rule, under, warrant_of


@pytest.mark.parametrize(
    ("line", "verb", "target", "passes"),
    [
        ("tool fs.read", Verb.INVOKE, "fs.read", True),
        ("tool fs.read", Verb.INVOKE, "fs.write", False),
        ("tool fs.*", Verb.INVOKE, "fs.write", True),
        ("tool fs", Verb.INVOKE, "fs.write", True),
        ("tool fs.*", Verb.INVOKE, "fsx.write", False),
        ("tool fs.*", Verb.INVOKE, "*", False),
        ("tool *", Verb.INVOKE, "any.thing", True),
        ("model gpt-4o", Verb.ASK, "gpt-4o", True),
        ("model gpt-4o", Verb.ASK, "gpt-4o-mini", False),
        ("agent b", Verb.SEND, "b", True),
        ("agent b", Verb.ASK, "b", False),
        ("tool *", Verb.REMEMBER, "notes", False),
    ],
)
def test_a_warrant_allows_what_it_names(line, verb, target, passes):
    found = objection(under(line), verb, target, {}, NOW)
    assert (found is None) is passes


@pytest.mark.parametrize(
    ("line", "target", "passes"),
    [
        ("host api.example.org:443", "api.example.org:443", True),
        ("host api.example.org:443", "api.example.org:80", False),
        ("host api.example.org", "api.example.org:8080", True),
        ("host api.example.org", "API.example.org.:443", True),
        ("host *.example.org", "a.b.example.org:443", True),
        ("host *.example.org", "example.org:443", False),
        ("host *.example.org", "evilexample.org:443", False),
        ("host *.example.org", "example.org.evil.com:443", False),
        ("host *", "api.example.org:443", True),
        ("host *", "api.example.org:0", False),
        ("host *", "api.example.org", False),
        ("host 10.0.0.1:80", "10.0.0.1:80", True),
        ("host 10.0.0.1:80", "0x0a000001:80", False),
        ("host *", "0x0a000001:80", False),
        ("host *", "2130706433:80", False),
    ],
)
def test_hosts_are_compared_as_hosts(line, target, passes):
    assert (reach(under(line), target) is None) is passes


def test_a_condition_on_a_host_sees_plain_requests_and_no_tunnel():
    warrant = under("host api.example.org:80 path=under:/v1 method=in:GET,HEAD")
    assert reach(warrant, "api.example.org:80", "GET", "/v1/items?q=1") is None
    assert reach(warrant, "api.example.org:80", "GET", "/v1/../admin") is not None
    assert reach(warrant, "api.example.org:80", "GET", "/v2") is not None
    assert reach(warrant, "api.example.org:80", "POST", "/v1/items") is not None
    assert reach(warrant, "api.example.org:80", "CONNECT") is not None


def test_a_tool_that_is_named_has_its_own_conditions_beside_a_star():
    warrant = under("tool fs.*", "tool fs.write path=under:/work")
    assert invoke(warrant, "fs.read", {"path": "/etc/shadow"}) is None
    assert invoke(warrant, "fs.write", {"path": "/work/x"}) is None
    assert invoke(warrant, "fs.write", {"path": "/etc/shadow"}) is not None


def test_two_lines_for_one_tool_are_alternatives():
    warrant = under("tool fs.write path=under:/a", "tool fs.write path=under:/b")
    assert invoke(warrant, "fs.write", {"path": "/a/x"}) is None
    assert invoke(warrant, "fs.write", {"path": "/b/x"}) is None
    assert invoke(warrant, "fs.write", {"path": "/c/x"}) is not None


@pytest.mark.parametrize(
    ("line", "arguments", "passes"),
    [
        ("tool t.t path=under:/d", {"path": "/d/x"}, True),
        ("tool t.t path=under:/d", {}, False),
        ("tool t.t path?=under:/d", {}, True),
        ("tool t.t path=under:/d", {"path": "/d/x", "force": True}, False),
        ("tool t.t path=under:/d *=any", {"path": "/d/x", "force": True}, True),
        ("tool t.t path=under:/d *=any", {"path": "/d/x", "Path": "/etc"}, False),
        ("tool t.t path=under:/d", {"path": ["/d/x", "/d/y"]}, True),
        ("tool t.t path=under:/d", {"path": ["/d/x", "/etc/y"]}, False),
        ("tool t.t rows.path=under:/d", {"rows": [{"path": "/d/1"}, {"path": "/d/2"}]}, True),
        ("tool t.t rows.path=under:/d", {"rows": [{"path": "/d/1"}, {"path": "/e"}]}, False),
        ("tool t.t to=any", {"to": {"name": "x", "deep": {"y": 1}}}, True),
        ("tool t.t amount=range:1..10", {"amount": 10}, True),
        ("tool t.t amount=range:1..10", {"amount": 10.5}, False),
        ("tool t.t amount=range:1..10", {"amount": "5"}, False),
        ("tool t.t amount=range:..10", {"amount": True}, False),
        ("tool t.t amount=range:1..10", {"amount": float("nan")}, False),
        ("tool t.t kind=in:a,b", {"kind": "b"}, True),
        ("tool t.t kind=in:a,b", {"kind": "c"}, False),
        ("tool t.t force==false", {"force": False}, True),
        ("tool t.t force==false", {"force": 0}, False),
        ("tool t.t n==5", {"n": 5}, True),
        ("tool t.t repo=prefix:org/one", {"repo": "org/one/issues"}, True),
        ("tool t.t repo=prefix:org/one", {"repo": "org/one"}, True),
        ("tool t.t repo=prefix:org/one", {"repo": "org/one-evil"}, False),
        ("tool t.t repo=prefix:org/one", {"repo": "org/one/../two"}, False),
        ("tool t.t text=max:5", {"text": "12345"}, True),
        ("tool t.t text=max:5", {"text": "123456"}, False),
        ("tool t.t x=none", {"x": 1}, False),
        ("tool t.t path=under:/d", [1, 2], False),
        ("tool t.t path?=under:/d", "text", False),
    ],
)
def test_conditions_on_arguments(line, arguments, passes):
    assert (invoke(under(line), "t.t", arguments) is None) is passes


def test_paths_bound_every_argument_that_is_a_path():
    warrant = under("tool *", "paths /work,/tmp/mine")
    assert invoke(warrant, "fs.read", {"path": "/work/x", "head": 3}) is None
    assert invoke(warrant, "fs.read", {"path": "/tmp/mine/x"}) is None
    assert invoke(warrant, "fs.read", {"path": "relative"}) is not None
    assert invoke(warrant, "fs.read", {"where": "/etc/shadow"}) is not None
    assert invoke(warrant, "fs.move", {"source_path": "/work/x", "text": "up / down"}) is None


def test_a_warrant_ends():
    warrant = under("tool *")
    assert invoke(warrant, "t.t", now=NOW + DAY - timedelta(seconds=1)) is None
    ended = invoke(warrant, "t.t", now=NOW + DAY)
    assert ended is not None
    assert "expired" in ended.reason


def test_arguments_that_cannot_be_counted_are_refused():
    warrant = under("tool t.t *=any")
    many: dict[str, object] = {str(number): number for number in range(1000)}
    assert invoke(warrant, "t.t", many) is not None
    deep: object = 1
    for _ in range(100):
        deep = {"x": deep}
    assert invoke(warrant, "t.t", deep) is not None


def test_the_grant_of_an_agent_becomes_terms():
    grant = Grant(
        tools=("fs.*", "mail.send"),
        models=("gpt",),
        hosts=(HostRule(host="api.example.org", ports=(443,)), HostRule(host="*", ports=ALL)),
        rules=(rule("fs.read", path="under:/data"), rule("pay.out", pass_on=True)),
    )
    warrant = warrant_of(grant)
    assert invoke(warrant, "fs.write", {"path": "/x"}) is None
    assert invoke(warrant, "fs.read", {"path": "/x"}) is not None
    assert invoke(warrant, "fs.read", {"path": "/data/x"}) is None
    assert reach(warrant, "other.example.net:8443") is None
    # What may only be passed on stands in the warrant; that the agent itself may not is the grant's matter.
    assert invoke(warrant, "pay.out") is None
    assert not grant.allows_tool("pay.out")
