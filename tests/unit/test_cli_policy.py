"""`hive policy` without a node: lay out, try, ask, explain, sign; and what it sends to one."""

import json

import pytest
from click.testing import CliRunner

from hive.cli.commands.policy import seconds_of
from hive.cli.entry import root
from hive.core.errors import BadInputError
from hive.security.policy import read_bundle
from hive.security.policy.signing import read_keys
from tests.policy_rig import lay_out, rego


def hive(*arguments: str, stdin: str | None = None):
    return CliRunner().invoke(root, ["policy", *arguments], input=stdin, standalone_mode=False)


@pytest.fixture
def house(tmp_path):
    assert hive("init", str(tmp_path / "house")).return_value == 0
    return tmp_path / "house"


def test_what_is_laid_out_passes_its_own_tests(house):
    done = hive("test", str(house), "--json")
    told = json.loads(done.stdout)
    assert done.return_value == 0
    assert told["passed"] is True
    assert len(told["tests"]) == 18


def test_a_folder_that_holds_something_is_left_alone(house):
    assert hive("init", str(house)).return_value not in (0, None)


def test_a_broken_rule_is_told_with_its_place_and_ends_in_an_error(house):
    (house / "rules" / "send.rego").write_text("package hive.rules.send\ndeny contains")
    done = hive("test", str(house))
    assert done.return_value == 1
    assert "send.rego" in done.stdout


def test_a_failing_test_is_told(house):
    (house / "rules" / "ask_test.rego").write_text("package t\ntest_it if 1 == 2")
    done = hive("test", str(house))
    assert done.return_value == 1
    assert "failed  data.t.test_it  rules/ask_test.rego" in done.stdout


def test_a_question_is_answered_from_options_from_a_file_and_from_standard_input(tmp_path):
    rules = 'deny contains "too much" if input.arguments.amount > 100'
    bundle = str(lay_out(rego(rules), tmp_path / "b"))
    asked = {"verb": "invoke", "target": "bank.pay", "arguments": {"amount": 500}}
    (tmp_path / "q.json").write_text(json.dumps(asked))
    ways = (
        hive("eval", bundle, "--target", "bank.pay", "--arguments", '{"amount": 500}'),
        hive("eval", bundle, "--input", str(tmp_path / "q.json")),
        hive("eval", bundle, "--input", "-", stdin=json.dumps(asked)),
    )
    for done in ways:
        assert done.return_value == 1
        assert done.stdout == "refused\n  because too much\n"
    assert hive("eval", bundle, "--target", "bank.pay").return_value == 0


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--target", "a", "--arguments", "{"),
        ("--input", "/nowhere"),
        ("--target", "a", "--facts", "[]"),
    ],
)
def test_a_question_that_is_none_is_told(arguments):
    assert hive("eval", *arguments).return_value not in (0, None)


def test_an_explanation_shows_the_lines(tmp_path):
    rules = 'deny contains "too much" if {\n  input.arguments.amount > 100\n}'
    bundle = str(lay_out(rego(rules), tmp_path / "b"))
    done = hive("explain", bundle, "--target", "x", "--arguments", '{"amount": 101}')
    assert "rules.rego" in done.stdout
    assert "3    input.arguments.amount > 100" in done.stdout


def test_signing_goes_up_by_one_and_is_accepted_by_who_trusts_the_key(house, tmp_path):
    key = tmp_path / "keys" / "ops"
    key.parent.mkdir()
    assert hive("key", str(key)).return_value == 0
    assert key.stat().st_mode & 0o777 == 0o600
    assert hive("key", str(key)).return_value not in (0, None)
    for version in (1, 2):
        assert hive("sign", str(house), "--key", str(key)).return_value == 0
        bundle = read_bundle(house)
        assert (bundle.manifest.name, bundle.manifest.version) == ("house", version)
        assert read_keys(tmp_path / "keys").signer_of(bundle) == "ops"


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("5m", 300), ("12h", 43200), ("1d", 86400)]
)
def test_spans_are_read(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "d", "1", "1w", "-1d", "1.5h", "99999999999d", "\u0661d"])
def test_what_is_no_span_is_told(text):
    with pytest.raises(BadInputError):
        seconds_of(text)


def test_loading_needs_a_bundle_or_the_default():
    assert hive("load").return_value not in (0, None)
    assert hive("load", "x", "--default").return_value not in (0, None)
