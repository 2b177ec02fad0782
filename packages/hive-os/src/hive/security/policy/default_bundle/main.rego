# What the node asks of each call: data.hive.policy.decision.
#
# Nothing is allowed unless it is a call that this policy knows and no rule below denies it. That a sandbox may reach a
# tool, model, host or agent at all was decided before, by its grant and its task's warrant; a policy only narrows.
#
# Rules stand in packages by verb, so that a call asks only those that concern it:
#   hive.rules.every    each call
#   hive.rules.invoke   tools; likewise send, ask, reach, recall, remember, spawn
# A rule says `deny contains "a reason that may be told"`, or `owe contains {"kind": .., "detail": ..}` where the call may
# happen on a condition: approval (a person's yes), redact, limit, raise_tier, record_full.
package hive.policy

decision := {
	"allow": allow,
	"reasons": deny,
	"obligations": owe,
}

default allow := false

allow if {
	input.verb in {"send", "invoke", "ask", "recall", "remember", "reach", "spawn"}
	input.principal.kind in {"operator", "client", "agent", "node", "anonymous"}
	count(deny) == 0
}

deny contains reason if some reason in data.hive.rules.every.deny

deny contains reason if {
	input.verb == "invoke"
	some reason in data.hive.rules.invoke.deny
}

deny contains reason if {
	input.verb == "send"
	some reason in data.hive.rules.send.deny
}

deny contains reason if {
	input.verb == "ask"
	some reason in data.hive.rules.ask.deny
}

deny contains reason if {
	input.verb == "reach"
	some reason in data.hive.rules.reach.deny
}

deny contains reason if {
	input.verb == "recall"
	some reason in data.hive.rules.recall.deny
}

deny contains reason if {
	input.verb == "remember"
	some reason in data.hive.rules.remember.deny
}

deny contains reason if {
	input.verb == "spawn"
	some reason in data.hive.rules.spawn.deny
}

owe contains duty if some duty in data.hive.rules.every.owe

owe contains duty if {
	input.verb == "invoke"
	some duty in data.hive.rules.invoke.owe
}

owe contains duty if {
	input.verb == "send"
	some duty in data.hive.rules.send.owe
}

owe contains duty if {
	input.verb == "ask"
	some duty in data.hive.rules.ask.owe
}

owe contains duty if {
	input.verb == "reach"
	some duty in data.hive.rules.reach.owe
}

owe contains duty if {
	input.verb == "recall"
	some duty in data.hive.rules.recall.owe
}

owe contains duty if {
	input.verb == "remember"
	some duty in data.hive.rules.remember.owe
}

owe contains duty if {
	input.verb == "spawn"
	some duty in data.hive.rules.spawn.owe
}
