"""Rego in the node's process: decisions, faults, trials, and what a rule may not do."""

import pytest

from hive.core.call import ObligationKind
from hive.core.errors import PolicyError
from hive.core.json import decode, encode
from hive.security.policy import PolicyDecision, QuestionCounters, question_again, recorded
from hive.security.policy.corpus import questions
from hive.security.policy.drivers.regorus import RegorusDriver, RegorusPolicy, findings_of
from hive.security.policy.question import encoded
from hive.security.policy.standing import decision_of, shipped_bundle
from tests.policy_rig import MAIN, question, rego

pytestmark = pytest.mark.anyio


def compiled(bundle) -> RegorusPolicy:
    return RegorusPolicy(bundle.version, list(bundle.modules(".rego")), bundle.data)


def answer(policy: RegorusPolicy, asked):
    return decision_of(policy.ask(asked.verb, encoded(asked), asked.target), policy.version)


async def tried(bundle):
    return await RegorusDriver("regorus:", timeout_s=1.0).trial(bundle)


def test_what_no_rule_denies_is_allowed():
    assert answer(compiled(rego()), question()).allow


def test_a_denial_says_why():
    policy = compiled(rego('deny contains "mail is closed" if input.target == "mail.send"'))
    found = answer(policy, question())
    assert not found.allow
    assert found.reasons == ("mail is closed",)
    assert answer(policy, question("mail.read")).allow


def test_a_record_decides():
    rules = 'deny contains "low" if input.reputation < 0.4\ndeny contains "alarms" if input.counters.alarms_last_hour > 0'
    policy = compiled(rego(rules))
    assert answer(policy, question()).allow
    assert answer(policy, question(reputation=0.39)).reasons == ("low",)
    alarmed = question(counters=QuestionCounters(alarms_last_hour=1))
    assert answer(policy, alarmed).reasons == ("alarms",)


@pytest.mark.parametrize(
    "more",
    [{}, {"reputation": 0.07}, {"counters": QuestionCounters(refusals_last_hour=3)}],
)
def test_a_record_is_told_where_it_is_not_clean_and_read_back(more):
    asked = question(**more)
    kept = recorded(asked, PolicyDecision(allow=True, version="v"))
    assert {*kept} & {"reputation", "counters"} == {*more}
    body = decode(encode({"policy": kept, "principal": "agent:scribe", "verb": asked.verb, "target": asked.target, "effect": asked.effect}))  # fmt: skip
    assert question_again(body, agent="scribe", arguments=None) == asked


def test_what_is_owed_is_told():
    rules = 'owe contains {"kind": "approval", "detail": "money"} if input.arguments.amount > 100'
    policy = compiled(rego(rules))
    owed = answer(policy, question(arguments={"amount": 101})).obligations
    assert [(one.kind, one.check, one.detail) for one in owed] == [
        (ObligationKind.APPROVAL, "policy", "money")
    ]
    assert answer(policy, question(arguments={"amount": 100})).obligations == ()


@pytest.mark.parametrize(
    "document",
    [
        b'{"reasons": []}', b'"yes"', b"true", b"[]", b'{"allow": "true"}', b'{"allow": 1}', b'{"allow": null}',
        b'{"allow": true, "obligations": [{"kind": "sing"}]}',
        b'{"allow": true, "obligations": ["approval"]}', b'{"allow": true, "reasons": "x"}',
        b'{"allow": true, "reasons": ["' + b"x" * (64 << 10) + b'"]}',
        b'{"allow": true, "obligations": [' + b",".join([b'{"kind": "limit"}'] * 33) + b"]}",
    ],
)  # fmt: skip
def test_what_is_no_decision_is_none(document):
    with pytest.raises(ValueError, match=r".+"):
        decision_of(document, "v")


def test_arguments_are_asked_for_where_a_rule_looks_at_them():
    silent = compiled(rego('deny contains "x" if input.target == "a"'))
    assert not silent.reads_arguments("invoke")
    curious = compiled(rego('deny contains "x" if input.arguments.a == "a"'))
    assert curious.reads_arguments("invoke")
    assert not curious.reads_arguments("send")
    everywhere = compiled(rego('deny contains "x" if some k in input', package="hive.rules.every"))
    assert everywhere.reads_arguments("send")


@pytest.mark.parametrize(
    "body", ['input["arguments"].a', "object.get(input, field, 1)", "input[field]"]
)
def test_a_rule_that_hides_where_it_looks_is_asked_with_arguments(body):
    rules = f'field := "arguments"\ndeny contains "x" if {body} == 1'
    assert compiled(rego(rules)).reads_arguments("invoke")


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ('startswith(input.target, "a")', False),
        ('glob.match("mail.*", ["."], input.target)', False),
        ('endswith(input.principal.name, "x")', False),
        ("input.arguments.amount > 5", False),
        ("count(deny) > 3", False),
        ('startswith(input.arguments.to, "a")', True),
        ("input.arguments.n + 1 > 5", True),
        ("to_number(input.facts.n) > 5", True),
        ('some to in input.arguments.l; endswith(to, "x")', True),
        ("count(input.arguments.l) > 3", True),
        ("f(input.arguments.l)", True),
        ("data.limits.n * 2 > 1", False),
        ("some label in input.labels; label.integrity == 1", False),
        ("some to in input.arguments.to; to == 1", True),
    ],
)
def test_rules_that_can_fail_are_told_from_those_that_cannot(rule, expected):
    text = f'package hive.rules.invoke\nf(x) if upper(x) == "A"\ndeny contains "x" if {{ {rule} }}'
    found = findings_of([("r.rego", text)])
    if "f(" not in rule:
        found = findings_of([("r.rego", text.replace('f(x) if upper(x) == "A"\n', ""))])
    assert bool(found.fallible) is expected


async def test_the_shipped_bundle_passes_its_trial():
    report = await tried(shipped_bundle())
    assert report.passed, report
    assert len(report.tests) >= 18
    assert report.notes == ()


def test_the_shipped_bundle_narrows_nothing_by_itself():
    policy = compiled(shipped_bundle())
    assert [answer(policy, one) for one in questions() if one.target.isascii()]
    assert all(answer(policy, one).allow for one in questions() if one.target.isascii())
    assert all(answer(policy, one).obligations == () for one in questions())


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ('deny contains "x" { input.verb == "a" }', "`if` keyword is required"),
        ("deny contains", "r"),
        ('deny contains "x" if time.now_ns() > 5', "time.now_ns may not be called"),
        ('deny contains "x" if http.send({"url": "http://a", "method": "get"})', "http.send may not"),
        ('deny contains "x" if count(numbers.range(1, 99999999)) > 1', "numbers.range may not"),
        ('deny contains "x" if rand.intn("a", 2) == 1', "rand.intn may not be called"),
        ('deny contains "x" if opa.runtime().env.HOME == "a"', "opa.runtime may not be called"),
        ('deny contains "x" if nonsense(1)', "nonsense"),
        ('deny contains "x" if input.agent.id == "a"', "no question has a field `agent`"),
        ('deny contains "x" if input.principal.nick == "a"', "no question has a field `principal.nick`"),
        ('deny contains "x" if input.counters.alarms > 0', "no question has a field `counters.alarms`"),
        ('deny contains "x" if input["source_agent"] == "a"', "no question has a field `source_agent`"),
        ('x := y\ny := x\ndeny contains "a" if x', "circle"),
        ("f(n) := f(n)\ndeny contains f(1) if true", "circle"),
    ],
)  # fmt: skip
async def test_a_bundle_that_may_not_stand_says_why(rules, told):
    report = await tried(rego(rules))
    assert not report.passed
    assert told in " ".join(report.problems)


async def test_a_test_that_fails_is_told_with_its_file():
    tests = "package hive.rules.invoke_test\ntest_a if 1 == 2\ntest_b if true\ntest_c := 1 / 0"
    report = await tried(rego('deny contains "a" if input.target == "b"', rules_test_rego=tests))
    assert not report.passed
    assert {one.name.rpartition(".")[2]: bool(one.problem) for one in report.tests} == {
        "test_a": True,
        "test_b": False,
        "test_c": True,
    }
    assert {one.file for one in report.tests} == {"rules_test.rego"}


async def test_a_rule_without_a_test_is_pointed_out():
    report = await tried(rego('deny contains "a" if input.target == "b"'))
    assert report.passed
    assert "no test beside: main.rego, rules.rego" in report.notes


async def test_a_bundle_without_a_decision_may_not_stand():
    from hive.security.policy.bundle import bundle_of

    report = await tried(bundle_of({"a.rego": b"package hive.policy\nallow := true"}))
    assert not report.passed


async def test_a_decision_of_another_form_may_not_stand():
    from hive.security.policy.bundle import bundle_of

    text = MAIN.replace('"allow": allow', '"allow": "yes"')
    report = await tried(bundle_of({"a.rego": text.encode()}))
    assert "no decision" in " ".join(report.problems)


async def test_an_explanation_names_the_lines_that_were_looked_at():
    bundle = rego(
        'deny contains "closed" if {\n  input.target == "mail.send"\n}\nowe contains 1 if false'
    )
    driver = RegorusDriver("regorus:", timeout_s=1.0)
    found = await driver.explain(bundle, encoded(question()))
    assert (3, '  input.target == "mail.send"') in found.lines["rules.rego"]
    assert not decision_of(found.document, "v").allow


def test_a_policy_is_asked_on_its_own_thread():
    import threading

    policy, seen = compiled(rego()), []

    def elsewhere() -> None:
        with pytest.raises(PolicyError):
            policy.ask("invoke", encoded(question()))
        seen.append(True)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen == [True]


def test_rules_about_other_targets_are_left_out_and_change_nothing():
    from tests.policy_corpus import generated, hundred

    bundle = hundred()
    policy = compiled(bundle)
    assert policy.evaluators.machines._index.targets == {
        "mail.send",
        "mail.read",
        "files.write",
        "files.read",
        "bank.transfer",
        "web.get",
    }
    denied = 0
    for asked in generated(400, seed=8):
        whole = decision_of(policy.ask(asked.verb, encoded(asked)), "v")
        cut = decision_of(policy.ask(asked.verb, encoded(asked), asked.target), "v")
        assert whole == cut, asked
        denied += not whole.allow
    assert denied > 20


@pytest.mark.parametrize(
    "condition",
    [
        'input.target == "m\\u0061il.send"',
        '"mail.send" == input.target',
        'input["target"] == "mail.send"',
        "input.target == `mail.send`",
        "input.target in {name}",
        'name == "mail.send"; input.target == name',
    ],
)
def test_however_a_target_is_written_its_rule_fires(condition):
    others = "\n".join(f'deny contains "{n}" if input.target == "tool.{n}"' for n in range(20))
    text = f'{others}\nname := "mail.send"\ndeny contains "found" if {{ {condition} }}'
    policy = compiled(rego(text))
    assert len(policy.evaluators.machines._index.targets) >= 19
    assert answer(policy, question()).reasons == ("found",)
    assert answer(policy, question("tool.3")).reasons == ("3",)
    assert answer(policy, question("tool.99")).allow


def test_a_policy_that_is_collected_on_another_thread_is_let_go_of_on_its_own():
    import gc
    import threading

    from hive.security.policy.drivers import regorus as driver

    policy = compiled(rego())
    number, policy.itself = policy._number, policy
    assert number in driver._OWN.kept
    gc.disable()
    try:
        del policy
        thread = threading.Thread(target=gc.collect)
        thread.start()
        thread.join()
    finally:
        gc.enable()
    assert number in driver._OWN.kept
    other = compiled(rego())
    assert number not in driver._OWN.kept
    assert other._number in driver._OWN.kept
