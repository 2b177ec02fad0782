# Rules for questions to models.
package hive.rules.ask

# An owner that data.settings.models_of_owners names may have its agents ask these models only.
deny contains "this owner's agents may not ask this model" if {
	some owner, models in data.settings.models_of_owners
	owner == input.principal.owner
	not input.target in models
}
