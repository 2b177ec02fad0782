"""A probe's report as SARIF 2.1.0, so that code scanning shows what got through."""

from typing import Any, Final

from hive_a2a.command.probing.findings import (
    SPECIFICATION,
    AttackProbe,
    ProbeFinding,
    ProbeReport,
    ProbeVerdict,
    Severity,
)

SCHEMA: Final = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
_LEVELS: Final = {
    Severity.CRITICAL: "error",
    Severity.HIGH: "error",
    Severity.MEDIUM: "warning",
    Severity.LOW: "note",
}
_SCORES: Final = {
    Severity.CRITICAL: "9.5",
    Severity.HIGH: "8.0",
    Severity.MEDIUM: "5.5",
    Severity.LOW: "3.0",
}
_KINDS: Final = {
    ProbeVerdict.FAILS: "fail",
    ProbeVerdict.WITHSTANDS: "pass",
    ProbeVerdict.NOT_APPLICABLE: "notApplicable",
    ProbeVerdict.UNCLEAR: "open",
}


def sarif_of(report: ProbeReport, version: str) -> dict[str, Any]:
    """Return a report as one SARIF log with one run."""
    rules = [_rule(one.probe) for one in report.findings]
    driver = {"name": "hive-a2a probe", "version": version, "rules": rules}
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": driver},
                "results": [
                    _result(one, number, report) for number, one in enumerate(report.findings)
                ],
                "properties": {"grade": report.grade, "agent": report.name},
            }
        ],
    }


def _rule(probe: AttackProbe) -> dict[str, Any]:
    return {
        "id": probe.id,
        "name": "".join(word.capitalize() for word in probe.id.split("-")),
        "shortDescription": {"text": probe.title},
        "fullDescription": {
            "text": f"{probe.title} ({SPECIFICATION}, {probe.clause}). Sends {probe.sends}."
        },
        "help": {"text": probe.fix},
        "defaultConfiguration": {"level": _LEVELS[probe.severity]},
        "properties": {
            "security-severity": _SCORES[probe.severity],
            "tags": ["security", "a2a", probe.id.partition("-")[0]],
        },
    }


def _result(finding: ProbeFinding, number: int, report: ProbeReport) -> dict[str, Any]:
    failed = finding.verdict is ProbeVerdict.FAILS
    return {
        "ruleId": finding.probe.id,
        "ruleIndex": number,
        "kind": _KINDS[finding.verdict],
        "level": _LEVELS[finding.probe.severity] if failed else "none",
        "message": {"text": f"{finding.probe.title}: {finding.saw}"},
        "locations": [
            {
                "physicalLocation": {"artifactLocation": {"uri": report.endpoint}},
                "logicalLocations": [{"name": report.name or report.url, "kind": "resource"}],
            }
        ],
        "partialFingerprints": {"probe/v1": f"{finding.probe.id}:{report.endpoint}"},
    }
