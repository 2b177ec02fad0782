# Rules for each call.
package hive.rules.every

# Letters of other alphabets look like those of a name that somebody trusts. A target that is meant to be written so
# stands in data.settings.foreign_names.
deny contains "the target's name has letters that look like others" if {
	not regex.match(`^[ -~]*$`, input.target)
	not input.target in data.settings.foreign_names
}

deny contains "this target is closed" if input.target in data.settings.closed_targets

owe contains {"kind": "record_full", "detail": ""} if input.target in data.settings.record_in_full
