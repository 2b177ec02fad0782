"""What judges evidence and what produces it; evidence is a stranger's until a verifier has read it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

import msgspec

from hive.confidential.references import Reference
from hive.core.errors import AttestationError
from hive.core.json import Json

BINDING_BYTES: Final = 64
EVIDENCE_MAX_BYTES: Final = 256 << 10


class EvidenceDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Evidence as it travels: JSON, bytes in base64.

    `report` is a SEV-SNP report, a TDX quote or a TPM quote. `certificates` are DER (SEV-SNP: the
    chip's). `collateral` is Intel's, as text. `signature`, `key` (DER) and `registers` belong to a TPM.
    """

    kind: str
    report: bytes
    certificates: list[bytes] = []
    collateral: str = ""
    signature: bytes = b""
    key: bytes = b""
    registers: dict[str, bytes] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Attested:
    """What hardware signed, after every check held: which image runs, and what else it said."""

    kind: str
    image: str
    measurement: bytes
    binding: bytes
    facts: Mapping[str, Json] = field(default_factory=dict)


class EvidenceVerifier(Protocol):
    """Judges evidence of one kind."""

    def verify(
        self, evidence: EvidenceDocument, *, reference: Reference, binding: bytes, now: datetime
    ) -> Attested:
        """Take evidence of this reference that carries `binding` (64 bytes), and nothing else.

        Raises:
            AttestationError: it is forged, stale, of something else, or weaker than the reference allows.
            MissingExtraError: what reads this kind is not installed.

        """
        ...


class EvidenceSource(Protocol):
    """The machine below, asked for evidence."""

    def probe(self) -> str:
        """Say why there is none here, or nothing."""
        ...

    def produce(self, binding: bytes) -> EvidenceDocument:
        """Return evidence that carries `binding` (64 bytes).

        Raises:
            AttestationError: the machine gives none.

        """
        ...


def refused(why: str) -> AttestationError:
    """Make the error for evidence that does not hold."""
    return AttestationError(
        "The evidence does not hold.",
        why=why,
        fix="Look at it with `hive confidential verify EVIDENCE`, and at the references.",
    )


def read_evidence(data: bytes) -> EvidenceDocument:
    """Read evidence as it travels.

    Raises:
        AttestationError: it is none, or too large.

    """
    if len(data) > EVIDENCE_MAX_BYTES:
        raise refused(f"It has {len(data)} bytes; the limit is {EVIDENCE_MAX_BYTES}.")
    try:
        return msgspec.json.decode(data, type=EvidenceDocument)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise refused("It is not the JSON of evidence.") from error
