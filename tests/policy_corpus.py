"""Generated questions and the bundles that are asked them, for tests that compare engines."""

import random
from collections.abc import Iterator
from datetime import timedelta

from hive.core.json import Json
from hive.security.policy import PolicyQuestion, QuestionLabel, QuestionPrincipal
from hive.security.policy.bundle import Bundle
from tests.policy_rig import AT, named, rego

TARGETS = (
    "mail.send", "mail.read", "files.write", "files.read", "bank.transfer", "web.get", "scribe",
    "host.example:443", "large", "small", "m\u0430il.send", "a b", 'q"uote', "x" * 200,
)  # fmt: skip
WORDS = ("alice@example.org", "mallory@evil.example", "/srv/data/a", "/etc/shadow", "", "USD", "10")
VERBS = ("invoke", "send", "ask", "reach", "remember", "recall", "spawn", "destroy")

FEATURES = """
limits := data.settings.limits

outside(address) if not endswith(address, "@example.org")

deny contains "too much" if input.arguments.amount > limits[input.principal.owner]
deny contains sprintf("%s is closed", [input.target]) if input.target in data.settings.closed
deny contains "outside" if {
	some to in input.arguments.to
	outside(to)
}
deny contains "not below" if {
	path := object.get(input, ["arguments", "path"], "/srv/")
	not startswith(path, "/srv/")
}
deny contains "read by strangers" if {
	some label in input.labels
	label.integrity == "external"
	count(label.readers) == 0
	input.effect == "once"
}
deny contains "late" if {
	[hour, _, _] := time.clock(time.parse_rfc3339_ns(input.time))
	hour >= 22
}
deny contains "deep" if {
	every key, value in input.arguments.nested { is_number(value); key != "x" }
}
deny contains "again" if {
	total := sum([n | some n in input.arguments.parts; n > 0])
	total > 50
}
owe contains {"kind": "approval", "detail": concat(" ", ["ask", input.principal.owner])} if {
	regex.match(`^(bank|mail)\\.`, input.target)
	glob.match("*.send", ["."], input.target)
}
owe contains {"kind": "record_full", "detail": ""} if tier == "strong"
tier := "strong" if { input.tier == "microvm" } else := "weak"
by_owner := {owner: limit | some owner, limit in limits; limit > 10}
owe contains {"kind": "limit", "detail": sprintf("%d", [by_owner[input.principal.owner]])} if true
"""
DATA = '{"settings": {"closed": ["files.write"], "limits": {"alice": 100, "bob": 5, "carol": 50}}}'


def bundles() -> dict[str, Bundle]:
    return {
        "features": named(rego(FEATURES, data_json=DATA), 1, "features"),
        "everywhere": named(
            rego(FEATURES, package="hive.rules.every", data_json=DATA), 1, "everywhere"
        ),
        "hundred": named(hundred(), 1, "hundred"),
    }


def hundred() -> Bundle:
    """A hundred rules about tools, as they are written: a target, and a condition on arguments or the caller."""
    rules = []
    for number in range(100):
        target = TARGETS[number % 6]
        rules.append(
            f'deny contains "rule {number}" if {{\n'
            f'\tinput.target == "{target}"\n'
            f"\tinput.arguments.amount > {number * 7}\n"
            f'\tinput.principal.owner == "{("alice", "bob", "carol")[number % 3]}"\n}}\n'
        )
    return rego("".join(rules))


def generated(count: int, seed: int) -> Iterator[PolicyQuestion]:
    pick = random.Random(seed)
    for _ in range(count):
        yield PolicyQuestion(
            principal=QuestionPrincipal(
                kind=pick.choice(("agent", "client", "operator", "node", "anonymous")),
                name=pick.choice(("scribe", "reader")),
                owner=pick.choice(("alice", "bob", "carol", "", "dave")),
                agent=pick.choice(("scribe", "")),
            ),
            verb=pick.choice((*VERBS, "invoke", "invoke", "invoke")),
            target=pick.choice(TARGETS),
            effect=pick.choice(("pure", "idempotent", "once")),
            time=AT + timedelta(hours=pick.randrange(24), seconds=pick.randrange(3600)),
            labels=tuple(
                QuestionLabel(
                    integrity=pick.choice(("user", "external", "system", "inferred")),
                    readers=tuple(pick.sample(("alice", "bob"), pick.randrange(3))),
                )
                for _ in range(pick.randrange(3))
            ),
            arguments=arguments(pick),
            tier=pick.choice(("process", "microvm", "")),
            facts={"method": pick.choice(("GET", "POST")), "destructive": pick.random() < 0.5},
        )


def arguments(pick: random.Random) -> Json:
    if pick.random() < 0.15:
        return pick.choice((None, [], "text", 5, True, {}))
    found: dict[str, Json] = {}
    for key in pick.sample(("amount", "to", "path", "nested", "parts"), pick.randrange(4)):
        found[key] = value(pick, key)
    return found


def value(pick: random.Random, key: str) -> Json:
    if pick.random() < 0.15:
        return pick.choice((None, True, -1, 0.5, 10**15, "9", [], {}, [[]], {"x": 1}))
    if key == "amount":
        return pick.choice((0, 1, 4, 5, 6, 49, 50, 99, 100, 101, 699, 0.5, 1e9))
    if key == "to":
        return pick.sample(WORDS, pick.randrange(3))
    if key == "parts":
        return [pick.randrange(-20, 40) for _ in range(pick.randrange(5))]
    if key == "nested":
        return {k: pick.randrange(5) for k in pick.sample(("x", "y", "z"), pick.randrange(4))}
    return pick.choice(WORDS)
