package hive.rules.invoke_test

test_a_destructive_tool_does_not_wait_by_default if {
	count(data.hive.rules.invoke.owe) == 0 with input as {"facts": {"destructive": true}}
}

test_a_destructive_tool_waits_where_that_is_set if {
	count(data.hive.rules.invoke.owe) == 1 with input as {"facts": {"destructive": true}}
		with data.settings.ask_before_destructive_tools as true
}

test_another_tool_does_not_wait if {
	count(data.hive.rules.invoke.owe) == 0 with input as {"facts": {"destructive": false}}
		with data.settings.ask_before_destructive_tools as true
}
