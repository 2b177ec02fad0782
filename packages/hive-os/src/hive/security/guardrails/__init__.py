"""Looks at what passes the gate: a signal for the record and for approvals, redaction where it is asked for, one wall.

The wall: values that may never leave (`known.py`) are refused. Everything else that is found in a text is a number
beside the call; no detector that runs without a model was good enough to be a gate (`benchmarks/guard_rules.py`).
"""

from hive.security.guardrails.finding import KINDS
from hive.security.guardrails.known import KnownValues, Leak, Leaks, Views
from hive.security.guardrails.ports import Direction, ScanFinding, Scanner, ScanReport
from hive.security.guardrails.redaction import RedactionWish, redact, redact_bytes
from hive.security.guardrails.separated import Separated, nonce_scope, separate, without_marks

__all__ = [
    "KINDS",
    "Direction",
    "KnownValues",
    "Leak",
    "Leaks",
    "RedactionWish",
    "ScanFinding",
    "ScanReport",
    "Scanner",
    "Separated",
    "Views",
    "nonce_scope",
    "redact",
    "redact_bytes",
    "separate",
    "without_marks",
]
