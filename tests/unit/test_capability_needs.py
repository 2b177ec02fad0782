"""Conditions from `hive-agent.toml` and from `--allow`: read, shown to whoever confirms, and put into the grant."""

from pathlib import Path

import pytest

from hive.core.allow_rules import AllowRule
from hive.core.errors import ConfigError, SpecError
from hive.core.grant import Grant, HostRule
from hive.core.ids import AgentId
from hive.core.settings import Settings
from hive.core.spec import AgentSpec, EntryPoint, StartKind
from hive.execution.confirm import (
    confirmation_needed,
    confirmed,
    cut_by_policy,
    grant_lines,
    open_ceiling,
    unattended_ceiling,
)
from hive.execution.spec_file import needs_of, parse_spec
from hive.node.conditions import allowed_by, ceiling_of, usable_rules
from tests.warrant_rig import invoke, reach, warrant_of

HERE = Path("/nowhere")
TEXT = """
name = "a"
entry = "a.py:a"
[needs]
tools = ["fs.*"]
[[needs.tool]]
name = "fs.write"
path = "under:/work"
[[needs.tool]]
name = "fs.rename"
arguments = { name = "any", path = "under:/work" }
[[needs.tool]]
name = "mail.send"
pass_on = true
[[needs.host]]
name = "api.example.org:8443"
method = "in:GET"
"""


def needs(text: str = TEXT) -> Grant:
    return needs_of(parse_spec(text), folder=HERE, home=HERE)


def test_a_spec_asks_for_tools_and_hosts_under_conditions():
    grant = needs()
    assert grant.tools == ("fs.*", "fs.write", "fs.rename")
    assert grant.hosts == (HostRule(host="api.example.org", ports=(8443,)),)
    warrant = warrant_of(grant)
    assert invoke(warrant, "fs.write", {"path": "/work/x"}) is None
    assert invoke(warrant, "fs.write", {"path": "/etc/x"}) is not None
    assert invoke(warrant, "fs.rename", {"path": "/work/x", "name": "y"}) is None
    assert invoke(warrant, "fs.read", {"path": "/etc/x"}) is None
    assert reach(warrant, "api.example.org:8443", "GET", "/x") is None
    assert reach(warrant, "api.example.org:8443", "POST", "/x") is not None
    assert not grant.allows_tool("mail.send")


@pytest.mark.parametrize(
    "table",
    [
        '[[needs.tool]]\npath = "under:/x"',
        '[[needs.tool]]\nname = "no tool!"',
        '[[needs.tool]]\nname = "fs.read"\npath = 5',
        '[[needs.tool]]\nname = "fs.read"\narguments = { path = 5 }',
        '[[needs.host]]\nname = "a.org"\npass_on = true',
        '[[needs.host]]\nname = "https://a.org"',
    ],
)
def test_a_table_that_cannot_be_used_is_refused(table):
    with pytest.raises(SpecError):
        needs(f'name = "a"\nentry = "a.py:a"\n[needs]\n{table}\n')


def test_a_condition_that_cannot_be_read_stops_the_deployment():
    grant = needs('name = "a"\nentry = "a.py:a"\n[[needs.tool]]\nname = "t.t"\nx = "glob:*"\n')
    with pytest.raises(SpecError, match="glob"):
        usable_rules(grant)


def test_the_person_who_confirms_reads_every_condition():
    lines = grant_lines(needs())
    assert "only so, the tool fs.write: path=under:/work" in lines
    assert "lets agents that it calls use the tool mail.send: any argument" in lines


def test_a_condition_that_goes_away_is_asked_about_again():
    spec = AgentSpec(
        name=AgentId("a"), entry=EntryPoint(kind=StartKind.PYTHON, path="a.py", attribute="a")
    )
    ruled = Grant(
        tools=("t.t",), rules=(AllowRule(kind="tool", name="t.t", arguments=(("x", "=1"),)),)
    )
    free = Grant(tools=("t.t",))
    assert confirmation_needed(spec, free, confirmed(spec, ruled)) is not None
    assert confirmation_needed(spec, ruled, confirmed(spec, free)) is None
    assert confirmation_needed(spec, ruled, confirmed(spec, ruled)) is None


def test_the_operator_s_conditions_stand_in_place_of_the_source_s():
    grant = allowed_by(
        ["tool fs.write path=under:/tmp/x", "host b.example.org", "agent helper", "model m"],
        needs(),
    )
    warrant = warrant_of(grant)
    assert invoke(warrant, "fs.write", {"path": "/work/x"}) is not None
    assert invoke(warrant, "fs.write", {"path": "/tmp/x/y"}) is None
    assert grant.allows_host("b.example.org", 443)
    assert grant.allows_agent("helper")
    assert grant.allows_model("m")
    with pytest.raises(SpecError):
        allowed_by(["tool"], needs())


def test_without_a_person_nothing_is_passed_on_and_ceilings_keep_conditions():
    asked = needs()
    left = cut_by_policy(asked, unattended_ceiling())
    assert left.tools == ()
    assert invoke(warrant_of(left), "mail.send") is not None
    assert cut_by_policy(asked, open_ceiling()).rules == asked.rules


def test_the_ceiling_of_the_settings_is_read_or_stops_the_start():
    ceiling = ceiling_of(Settings(warrant_ceiling=("tool fs.* path=under:/d", "model *")))
    warrant = warrant_of(Grant(tools=("*",)), ceiling=ceiling)
    assert invoke(warrant, "fs.read", {"path": "/d/x"}) is None
    assert invoke(warrant, "fs.read", {"path": "/e"}) is not None
    with pytest.raises(ConfigError):
        ceiling_of(Settings(warrant_ceiling=("everything",)))
