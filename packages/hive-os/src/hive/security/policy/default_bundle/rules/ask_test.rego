package hive.rules.ask_test

question := {"principal": {"owner": "alice"}, "target": "large"}

test_any_model_by_default if {
	count(data.hive.rules.ask.deny) == 0 with input as question
}

test_an_owner_may_be_held_to_some_models if {
	count(data.hive.rules.ask.deny) == 1 with input as question
		with data.settings.models_of_owners as {"alice": ["small"]}
}

test_another_owner_is_not_held if {
	count(data.hive.rules.ask.deny) == 0 with input as question
		with data.settings.models_of_owners as {"bob": ["small"]}
}
