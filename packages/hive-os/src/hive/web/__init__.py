"""The operator's doors: the API behind the `hive` command, the live page, health and public facts.

`ports.py` says what they need of a node (`Console`), `values.py` holds what crosses this wire.
Everything is plain ASGI, so that the control socket answers before a web framework is imported.
"""
