"""The scanners that can be asked; the first row is the default."""

from typing import Final

from hive.core.drivers import DriverRow, Table
from hive.security.guardrails.ports import ScannerDriver

_HERE: Final = "hive.security.guardrails.drivers"

SCANNERS: Final[Table[ScannerDriver]] = Table(
    port="security.Scanner",
    setting="HIVE_GUARD_URL",
    rows=(
        DriverRow(
            scheme="rules",
            target=f"{_HERE}.rules:RulesScanner",
            summary="own rules in this process; `rules:?file=/path/own.toml` adds an operator's",
        ),
        DriverRow(
            scheme="http",
            target=f"{_HERE}.scorer:HttpScorer",
            summary="any scorer that answers a POST: `http://127.0.0.1:9000/scan`",
        ),
        DriverRow(
            scheme="https",
            target=f"{_HERE}.scorer:HttpScorer",
            summary="the same with TLS",
        ),
        DriverRow(
            scheme="llm-guard",
            target=f"{_HERE}.frameworks:LlmGuardScanner",
            summary="LLM Guard in an environment of its own: `llm-guard:/path/venv/bin/python`",
        ),
        DriverRow(
            scheme="llamafirewall",
            target=f"{_HERE}.frameworks:LlamaFirewallScanner",
            summary="LlamaFirewall in an environment of its own: `llamafirewall:/path/venv/bin/python`",
        ),
        DriverRow(
            scheme="nemo",
            target=f"{_HERE}.frameworks:NemoScanner",
            summary="NeMo Guardrails in an environment of its own: `nemo:/path/venv/bin/python?config=/path/rails`",
        ),
    ),
)
