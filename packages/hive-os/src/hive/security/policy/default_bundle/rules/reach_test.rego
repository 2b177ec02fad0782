package hive.rules.reach_test

test_methods_are_open_by_default if {
	count(data.hive.rules.reach.deny) == 0 with input as {"facts": {"method": "DELETE"}}
}

test_a_closed_method_is_closed if {
	count(data.hive.rules.reach.deny) == 1 with input as {"facts": {"method": "DELETE"}}
		with data.settings.closed_methods as ["DELETE"]
}
