"""Quotes of Intel TDX: dcap-qvl checks signature, certificates and Intel's collateral; the rest is judged here.

Nothing is fetched: the collateral comes with the evidence, is signed by Intel, and has to be as fresh as the
reference demands.
"""

import hmac
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol

import dcap_qvl  # type: ignore[import-untyped]
from cryptography.x509 import load_der_x509_crl

from hive.confidential.ports import Attested, EvidenceDocument, refused
from hive.confidential.references import Reference, TdxReference
from hive.core.json import Json

DEBUG: Final = 1
HEAD_BYTES: Final = 48
BODY_BYTES: Final = 584
KEY_AND_SIGNATURE_BYTES: Final = 128
QE_REPORT_DATA: Final = 6


class TdReport(Protocol):
    """What a quote says of its guest (TDX DCAP quote, TD report body)."""

    mr_td: bytes
    report_data: bytes
    td_attributes: bytes


class TdxVerifier:
    """Judges quotes."""

    def verify(
        self, evidence: EvidenceDocument, *, reference: Reference, binding: bytes, now: datetime
    ) -> Attested:
        """Take a quote of this reference that carries `binding`. Raises AttestationError."""
        if not isinstance(reference, TdxReference):
            raise refused("The reference is of other hardware.")
        _check_frame(evidence.report)
        try:
            quote = dcap_qvl.parse_quote(evidence.report)
            collateral = dcap_qvl.QuoteCollateralV3.from_json(evidence.collateral)
            at = _counted_at(evidence.collateral, now, reference.collateral_age_max_s)
            verdict = dcap_qvl.verify(evidence.report, collateral, int(at.timestamp()))
        except (ValueError, TypeError, KeyError, RuntimeError) as error:
            raise refused(f"The quote does not hold: {str(error)[:200]}.") from error
        if not quote.is_tdx():
            raise refused("It is a quote of another technology than TDX.")
        _check(quote.report, verdict.status, reference, binding)
        return Attested(
            kind="tdx",
            image=reference.name,
            measurement=bytes(quote.report.mr_td),
            binding=bytes(quote.report.report_data),
            facts=_facts(quote.report, verdict.status, verdict.advisory_ids),
        )


def _check_frame(data: bytes) -> None:
    """Refuse sizes and types around the signed parts that are not as the format has them (quote version 4 and 5)."""
    version, at = int.from_bytes(data[:2], "little"), HEAD_BYTES
    if version == 4:
        at += BODY_BYTES
    elif version == 5:
        at += 6 + int.from_bytes(data[at + 2 : at + 6], "little")
    else:
        raise refused(f"Version {version} of the quote is not known.")
    size = int.from_bytes(data[at : at + 4], "little")
    end = at + 4 + size
    inner = data[at + 4 + KEY_AND_SIGNATURE_BYTES :][:6]
    kind, inside = int.from_bytes(inner[:2], "little"), int.from_bytes(inner[2:], "little")
    whole = size == KEY_AND_SIGNATURE_BYTES + 6 + inside and end <= len(data)
    if kind != QE_REPORT_DATA or not whole or any(data[end:]):
        raise refused("The quote is not laid out as one.")


def _counted_at(collateral: str, now: datetime, age_max_s: int) -> datetime:
    """Return the time at which the collateral is judged: now, or its last moment where that is young enough."""
    if not age_max_s:
        return now
    told = json.loads(collateral)
    parts = [json.loads(told[part]) for part in ("tcb_info", "qe_identity")]
    lists = [load_der_x509_crl(bytes.fromhex(told[part])) for part in ("pck_crl", "root_ca_crl")]
    ends = min(
        *(datetime.fromisoformat(part["nextUpdate"]) for part in parts),
        *(one.next_update_utc for one in lists if one.next_update_utc is not None),
    )
    late = now - ends
    return (
        ends - timedelta(seconds=1) if timedelta() <= late <= timedelta(seconds=age_max_s) else now
    )


def _check(report: TdReport, status: str, reference: TdxReference, binding: bytes) -> None:
    if not hmac.compare_digest(bytes(report.mr_td), bytes.fromhex(reference.measurement)):
        raise refused(f"It is not the image {reference.name}: the measurement is another.")
    for number, value in reference.rtmr.items():
        if not hmac.compare_digest(_rtmr(report, number), bytes.fromhex(value)):
            raise refused(f"Run-time register {number} is another.")
    if not hmac.compare_digest(bytes(report.report_data), binding):
        raise refused("The quote was made for another challenge.")
    if int.from_bytes(bytes(report.td_attributes), "little") & DEBUG and not reference.debug:
        raise refused("The host may read this guest's memory: debugging is allowed.")
    if status not in reference.statuses:
        raise refused(f"The machine's firmware is {status}.")


def _rtmr(report: TdReport, number: str) -> bytes:
    return bytes(getattr(report, f"rt_mr{number}"))


def _facts(report: TdReport, status: str, advisories: Sequence[str]) -> dict[str, Json]:
    attributes = int.from_bytes(bytes(report.td_attributes), "little")
    return {
        "status": status,
        "advisories": [str(one) for one in advisories],
        "debug": bool(attributes & DEBUG),
        "rtmr": {number: _rtmr(report, number).hex() for number in "0123"},
    }
