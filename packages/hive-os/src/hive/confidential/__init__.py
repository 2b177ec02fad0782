"""Confidential computing: what a guest proves of itself, and what is handed to it for that.

    EvidenceVerifier         judges evidence of one kind of hardware (drivers: sev-snp, tdx, tpm2)
    EvidenceSource   asks the machine below for evidence (driver: tsm)
    References       which measurement is which image: the operator's file
    KeyRelease       challenge, evidence, and the image's key sealed to the guest that proved itself
    sealing          an image under a key; truncated, swapped and reordered pieces are refused
    manifests        pods for Kata and Confidential Containers, with init data

Nothing is believed of a guest but what hardware signed: evidence comes from strangers and is read as such.
"""

from hive.confidential.ports import Attested, EvidenceDocument, EvidenceSource, EvidenceVerifier
from hive.confidential.references import References, read_references
from hive.confidential.release import KeyRelease, ReleaseChallenge, release_binding

__all__ = [
    "Attested",
    "EvidenceDocument",
    "EvidenceSource",
    "EvidenceVerifier",
    "KeyRelease",
    "References",
    "ReleaseChallenge",
    "read_references",
    "release_binding",
]
