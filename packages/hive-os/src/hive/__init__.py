"""Hive: an operating system for AI agents.

An agent of any framework runs in a sandbox outside the node; everything it does passes one gate and
is written to one ledger. Read ARCHITECTURE.md for the rows and the journey of a message.
"""

__version__ = "0.1.0"
