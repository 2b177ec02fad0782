package hive.rules.every_test

test_a_plain_name_passes if {
	count(data.hive.rules.every.deny) == 0 with input as {"target": "mail.send"}
}

test_a_look_alike_does_not_pass if {
	count(data.hive.rules.every.deny) == 1 with input as {"target": "m\u0430il.send"}
}

test_a_foreign_name_that_is_meant_passes if {
	count(data.hive.rules.every.deny) == 0 with input as {"target": "пошта.send"}
		with data.settings.foreign_names as ["пошта.send"]
}

test_a_closed_target_is_closed if {
	"this target is closed" in data.hive.rules.every.deny with input as {"target": "mail.send"}
		with data.settings.closed_targets as ["mail.send"]
}

test_a_target_may_be_recorded_in_full if {
	count(data.hive.rules.every.owe) == 1 with input as {"target": "mail.send"}
		with data.settings.record_in_full as ["mail.send"]
}
