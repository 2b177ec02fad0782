"""A rule, or a call that knows the rules, tries to break the evaluator or to get around it by an error.

Each attack is shown to work on the bare engine first.
"""

import subprocess
import sys

import msgspec
import pytest
import regorus

from hive.core.errors import PolicyError
from hive.security.policy.drivers.regorus import RegorusPolicy
from tests.policy_rig import MAIN, PolicyRoom, named, question, rego

pytestmark = pytest.mark.anyio


async def room_with(tmp_path, rules: str, package: str = "hive.rules.invoke") -> PolicyRoom:
    room = PolicyRoom(tmp_path)
    await room.policy.open()
    await room.put(named(rego(rules, package=package), 1))
    return room


def bare(rules: str, asked) -> object:
    """Ask the engine alone, as one would without a guard."""
    machine = regorus.Rvm()
    modules = [("m.rego", MAIN), ("r.rego", f"package hive.rules.invoke\n{rules}")]
    entry = "data.hive.policy.decision"
    machine.load_program(regorus.Program.compile_from_modules("{}", modules, [entry]))
    machine.set_data_json("{}")
    machine.set_input_json(msgspec.json.encode(asked).decode())
    return msgspec.json.decode(machine.execute())


CIRCLES = ("deny contains x if x := a\na := b\nb := a", "f(n) := f(n)\ndeny contains f(1) if true")


@pytest.mark.parametrize("rules", CIRCLES)
def test_rules_in_a_circle_end_a_process_that_runs_them(rules):
    text = f"package p\n{rules}"
    code = (
        "import regorus, sys\n"
        "m = regorus.Rvm()\n"
        "m.load_program(regorus.Program.compile_from_modules('{}', [('p.rego', sys.argv[1])], ['data.p.deny']))\n"
        "m.set_data_json('{}'); m.set_input_json('{}'); m.execute()"
    )
    done = subprocess.run([sys.executable, "-c", code, text], capture_output=True, check=False)
    assert done.returncode < 0


@pytest.mark.parametrize("rules", CIRCLES)
async def test_rules_in_a_circle_end_their_trial_and_not_the_node(tmp_path, rules):
    room = PolicyRoom(tmp_path)
    await room.policy.open()
    with pytest.raises(PolicyError, match="did not pass") as told:
        await room.put(named(rego(rules), 1))
    assert "circle" in told.value.why
    assert (await room.policy.decide(question())).allow


async def test_a_rule_that_takes_all_memory_ends_its_trial(tmp_path):
    doubling = "\n".join(
        f'x{n} := concat("", [x{n - 1}, x{n - 1}, x{n - 1}, x{n - 1}])' for n in range(1, 30)
    )
    rules = f'x0 := "{"a" * 100}"\n{doubling}\ndeny contains "x" if contains(x29, "b")'
    room = PolicyRoom(tmp_path)
    await room.policy.open()
    with pytest.raises(PolicyError, match="did not pass"):
        await room.put(named(rego(rules), 1))
    assert (await room.policy.decide(question())).allow


async def test_a_call_with_long_lists_cannot_hold_the_node(tmp_path):
    rules = 'deny contains "x" if { some a in input.arguments.l; some b in input.arguments.l; a == b + 1; a < 0 }'
    room = await room_with(tmp_path, rules)
    assert (await room.policy.decide(question(arguments={"l": [1, 2, 3]}))).allow
    found = await room.policy.decide(question(arguments={"l": list(range(5000))}))
    assert not found.allow
    assert "instruction limit" in found.fault
    # The evaluator is as good as before.
    assert (await room.policy.decide(question(arguments={"l": [1, 2, 3]}))).allow


async def test_a_rule_is_not_switched_off_by_an_argument_of_another_kind(tmp_path):
    rules = 'deny contains "outside" if not endswith(input.arguments.to, "@example.org")\n'
    rules += 'deny contains "evil" if endswith(input.arguments.to, "@evil.example")'
    attack = question(arguments={"to": ["a@evil.example"]})
    only_second = rules.partition("\n")[2]
    assert bare(only_second, attack)["allow"] is True
    room = await room_with(tmp_path, only_second)
    assert not (await room.policy.decide(attack)).allow
    assert (await room.policy.decide(question(arguments={"to": "a@example.org"}))).allow


async def test_an_answer_without_bounds_is_none(tmp_path):
    rules = "deny contains x if {\n  some x in input.arguments.l\n  is_string(x)\n}"
    room = await room_with(tmp_path, rules)
    found = await room.policy.decide(
        question(arguments={"l": [f"{n} {'x' * 1000}" for n in range(100)]})
    )
    assert not found.allow
    assert "bytes" in found.fault
    many = await room.policy.decide(question(arguments={"l": [f"{n}" for n in range(100)]}))
    assert len(many.reasons) == 16


async def test_a_question_without_bounds_is_refused(tmp_path):
    room = await room_with(tmp_path, 'deny contains "x" if input.arguments.a == 1')
    found = await room.policy.decide(question(arguments={"pad": "x" * (300 << 10), "a": 1}))
    assert not found.allow
    assert "too" in found.fault or "bytes" in found.fault


async def test_reasons_cannot_drive_a_terminal(tmp_path):
    room = await room_with(
        tmp_path, "deny contains input.arguments.r if is_string(input.arguments.r)"
    )
    found = await room.policy.decide(question(arguments={"r": "\x1b[2Jcleared\u202e"}))
    assert found.reasons == ("cleared",)


async def test_the_old_dialect_is_not_read_as_the_new_one(tmp_path):
    old = 'package hive.rules.invoke\ndeny["closed"] { input.target == "mail.send" }'
    engine = regorus.Engine()
    engine.set_rego_v0(True)
    engine.add_policy("old.rego", old)
    engine.set_input_json('{"target": "mail.send"}')
    assert "closed" in engine.eval_rule_as_json("data.hive.rules.invoke.deny")
    room = PolicyRoom(tmp_path)
    await room.policy.open()
    with pytest.raises(PolicyError, match="did not pass"):
        await room.put(named(rego(old.partition("\n")[2]), 1))


async def test_a_denial_on_which_nothing_depends_does_not_pass_for_a_rule(tmp_path):
    """The rule reads a field that no question has: it would never fire."""
    rules = "deny if data.agent_call_counts[input.source_agent.id] > 100"
    room = PolicyRoom(tmp_path)
    await room.policy.open()
    with pytest.raises(PolicyError) as told:
        await room.put(named(rego(rules), 1))
    assert "source_agent" in told.value.why


@pytest.mark.parametrize(
    "target", ["m\u0430il.send", "mail\u2024send", "\uff4dail.send", "mail.send\u200b"]
)
async def test_a_name_that_looks_like_another_does_not_pass_the_shipped_rules(tmp_path, target):
    rules = 'deny contains "closed" if input.target == "mail.send"'
    assert bare(rules, question(target))["allow"] is True
    room = PolicyRoom(tmp_path)
    await room.policy.open()
    assert not (await room.policy.decide(question(target))).allow
    assert (await room.policy.decide(question())).allow


async def test_a_panic_of_the_evaluator_is_a_refusal(tmp_path):
    """A panic is no Exception in Python, so it would pass every `except Exception` on its way."""
    import threading

    room = await room_with(tmp_path, 'deny contains "x" if input.target == "a"')
    compiled = room.policy.standing.compiled
    assert isinstance(compiled, RegorusPolicy)
    machines, made, done = [], threading.Event(), threading.Event()

    def elsewhere() -> None:
        machines.append(regorus.Rvm())
        made.set()
        done.wait(60)
        machines.clear()

    thread = threading.Thread(target=elsewhere)
    thread.start()
    made.wait(60)
    whole = compiled.evaluators.machines
    genuine, whole._whole = whole._whole, machines[0]
    try:
        with pytest.raises(BaseException, match="unsendable") as bare_panic:
            machines[0].set_input_json("{}")
        assert not isinstance(bare_panic.value, Exception)
        found = await room.policy.decide(question())
    finally:
        whole._whole = genuine
        done.set()
        thread.join()
    assert not found.allow
    assert "unsendable" in found.fault


HOSTILE_CALLS = [
    ('sprintf(input.arguments.f, [1]) == "x"', {"f": "%9999999999d"}),
    (
        'replace(input.arguments.f, "a", input.arguments.g) == "x"',
        {"f": "a" * 9000, "g": "b" * 9000},
    ),
    ("concat(input.arguments.f, input.arguments.g) == 1", {"f": "a" * 9000, "g": ["a"] * 9000}),
    ("units.parse(input.arguments.f) == 1", {"f": "1e1000000000K"}),
    ("strings.any_prefix_match(input.arguments.f, input.arguments.g)", {"f": ["a"], "g": ["b"]}),
]


def test_a_caller_could_end_the_process_with_a_format():
    code = (
        "import regorus, resource\n"
        "resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))\n"
        "e = regorus.Engine()\n"
        "e.add_policy('p.rego', 'package p\\nx := sprintf(input.f, [1])')\n"
        'e.set_input_json(\'{"f": "%9999999999d"}\')\n'
        "e.eval_rule_as_json('data.p.x')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode < 0


@pytest.mark.parametrize(("rule", "arguments"), HOSTILE_CALLS)
async def test_a_rule_that_lets_a_caller_choose_how_much_work_it_is_may_not_stand(
    tmp_path, rule, arguments
):
    room = PolicyRoom(tmp_path)
    await room.policy.open()
    with pytest.raises(PolicyError, match="did not pass"):
        await room.put(named(rego(f'deny contains "x" if {rule}'), 1))
    assert (await room.policy.decide(question(arguments=arguments))).allow


async def test_an_answer_that_took_too_long_is_a_refusal(tmp_path, monkeypatch):
    room = await room_with(tmp_path, 'deny contains "x" if input.target == "a"')
    monkeypatch.setattr("hive.security.policy.standing.DECISION_CPU_S", 0.0)
    found = await room.policy.decide(question())
    assert not found.allow
    assert "processor time" in found.fault
    assert room.names()[-1] == "policy.fault"
