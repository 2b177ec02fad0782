package hive.policy_test

call := {
	"principal": {"kind": "agent", "name": "scribe", "owner": "alice", "agent": "scribe", "spiffe_id": ""},
	"verb": "invoke", "target": "files.read", "effect": "pure", "labels": [], "facts": {},
}

test_a_known_call_is_allowed if {
	data.hive.policy.decision == {"allow": true, "reasons": set(), "obligations": set()} with input as call
}

test_an_unknown_verb_is_not if {
	not data.hive.policy.allow with input as object.union(call, {"verb": "destroy"})
}

test_an_unknown_kind_of_caller_is_not if {
	not data.hive.policy.allow with input as object.union(call, {"principal": {"kind": "ghost"}})
}

test_an_empty_question_is_not_allowed if {
	not data.hive.policy.allow with input as {}
}

test_a_denial_outweighs if {
	not data.hive.policy.allow with input as call with data.settings.closed_targets as ["files.read"]
}
