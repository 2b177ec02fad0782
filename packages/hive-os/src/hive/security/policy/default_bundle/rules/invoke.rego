# Rules for calls of tools.
package hive.rules.invoke

# Off unless data.settings says so: a tool that says of itself that it destroys waits for a person.
owe contains {"kind": "approval", "detail": "the tool says that it destroys something"} if {
	data.settings.ask_before_destructive_tools
	input.facts.destructive == true
}
