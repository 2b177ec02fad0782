"""One module a family of verbs; the table in `hive.cli.entry` names them."""
