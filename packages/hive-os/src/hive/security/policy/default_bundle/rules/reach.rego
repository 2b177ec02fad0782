# Rules for connections to hosts.
package hive.rules.reach

deny contains "this method is closed" if input.facts.method in data.settings.closed_methods
