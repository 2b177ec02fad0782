"""Quotes of a TPM 2.0: the machine's key is the one that the reference names, its registers are as the reference says.

A TPM's word is about the machine that booted, not about memory that the host cannot read: it releases a key to a
known machine, and keeps no secret from whoever owns that machine.
"""

import hashlib
import hmac
from datetime import datetime
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from hive.confidential.ports import Attested, EvidenceDocument, refused
from hive.confidential.references import Reference, TpmReference
from hive.core.json import Json
from hive.core.tpm_quotes import check_quote, signed_by

QUALIFIER_BYTES: Final = 48
"""The part of the 64 bytes of a binding that is a hash: a TPM's qualifying data may be no longer than its own."""


class TpmVerifier:
    """Judges quotes."""

    def verify(
        self, evidence: EvidenceDocument, *, reference: Reference, binding: bytes, now: datetime
    ) -> Attested:
        """Take a quote of this reference that carries `binding`. Raises AttestationError."""
        del now  # an attestation key has no certificate here: the reference names it
        if not isinstance(reference, TpmReference):
            raise refused("The reference is of other hardware.")
        if not hmac.compare_digest(hashlib.sha256(evidence.key).hexdigest(), reference.key):
            raise refused("The quote is of another machine's key.")
        try:
            key = serialization.load_der_public_key(evidence.key)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise refused("The key of the quote cannot be used.") from error
        if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
            raise refused("The key of the quote cannot be used.")
        if not signed_by(evidence.report, evidence.signature, key):
            raise refused("The quote is not signed by the machine's key.")
        registers = {
            int(number): bytes.fromhex(value) for number, value in reference.registers.items()
        }
        qualifier = binding[:QUALIFIER_BYTES]
        check_quote(evidence.report, qualifier=qualifier, registers=registers)
        joined = b"".join(registers[number] for number in sorted(registers))
        return Attested(
            kind="tpm2",
            image=reference.name,
            measurement=hashlib.sha256(joined).digest(),
            binding=binding,
            facts={"key": reference.key, "registers": list[Json](sorted(registers))},
        )
