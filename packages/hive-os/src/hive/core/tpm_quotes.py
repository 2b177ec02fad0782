"""Quotes of a TPM 2.0, read and verified: what it says (TPMS_ATTEST), and whose key says so (TPMT_SIGNATURE).

All sizes are of the bytes that came; whatever does not add up is refused. The key has to be a restricted signing key:
such a one signs nothing that the TPM did not make itself.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from hive.core.errors import AttestationError

MachineKey: TypeAlias = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
MADE_BY_TPM: Final = 0xFF544347
IS_QUOTE: Final = 0x8018
SHA_256: Final = 0x000B
RSASSA: Final = 0x0014
RSAPSS: Final = 0x0016
ECDSA: Final = 0x0018
CLOCK_BYTES: Final = 17
FIRMWARE_BYTES: Final = 8
BANKS_MAX: Final = 4


def _refused(why: str) -> AttestationError:
    return AttestationError(
        "The quote of the TPM does not hold.", why=why, fix="Ask for a fresh challenge."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SaidByTpm:
    """What a quote says: the bytes it was asked to carry, which registers, and the hash over their values."""

    qualifier: bytes
    registers: tuple[int, ...]
    digest: bytes


class _Bytes:
    """Bytes of a stranger, taken from the front."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        """Return the next bytes. Raises AttestationError."""
        found = self._data[self._at : self._at + size]
        if len(found) != size:
            raise _refused("The quote of the TPM is cut short.")
        self._at += size
        return found

    def number(self, size: int) -> int:
        """Return the next number."""
        return int.from_bytes(self.take(size), "big")

    def sized(self) -> bytes:
        """Return the next bytes that are preceded by their size (TPM2B)."""
        return self.take(self.number(2))

    def end(self) -> None:
        """Refuse anything that follows."""
        if self._at != len(self._data):
            raise _refused("Something follows the quote of the TPM.")


def check_quote(quote: bytes, *, qualifier: bytes, registers: Mapping[int, bytes]) -> None:
    """Take a quote, whose signature holds, over this qualifier and these values of PCRs (SHA-256), and nothing else.

    Raises:
        AttestationError: it is of another challenge, or the machine runs something else.

    """
    said = read_quote(quote)
    if not hmac.compare_digest(said.qualifier, qualifier):
        raise _refused("The quote was made for another challenge.")
    if said.registers != tuple(sorted(registers)):
        raise _refused(
            "The quote is about other registers than those that are known of the machine."
        )
    values = b"".join(registers[number] for number in said.registers)
    if not hmac.compare_digest(said.digest, hashlib.sha256(values).digest()):
        raise _refused("The machine has measured something else than what is known of it.")


def read_quote(quote: bytes) -> SaidByTpm:
    """Return what a quote says (TPMS_ATTEST).

    Raises:
        AttestationError: it is none.

    """
    data = _Bytes(quote)
    if data.number(4) != MADE_BY_TPM or data.number(2) != IS_QUOTE:
        raise _refused("It is not a quote of a TPM.")
    data.sized()  # the name of the key, which the signature proves better
    qualifier = data.sized()
    data.take(CLOCK_BYTES + FIRMWARE_BYTES)
    registers = _registers(data)
    digest = data.sized()
    data.end()
    return SaidByTpm(qualifier=qualifier, registers=registers, digest=digest)


def _registers(data: _Bytes) -> tuple[int, ...]:
    banks, found = data.number(4), []
    if not 0 < banks <= BANKS_MAX:
        raise _refused("The quote is about no register, or too many.")
    for _ in range(banks):
        bank, bits = data.number(2), data.take(data.number(1))
        chosen = [at for at in range(len(bits) * 8) if bits[at // 8] >> at % 8 & 1]
        if chosen and bank != SHA_256:
            raise _refused("The quote is about a bank that is not SHA-256.")
        found += chosen
    if len(set(found)) != len(found):
        raise _refused("The quote names a register twice.")
    return tuple(found)


def signed_by(quote: bytes, signature: bytes, key: MachineKey) -> bool:
    """Tell whether a signature (TPMT_SIGNATURE, SHA-256) is the key's own."""
    data = _Bytes(signature)
    scheme, digest = data.number(2), data.number(2)
    if digest != SHA_256:
        return False
    first = data.sized()
    second = data.sized() if scheme == ECDSA else b""
    data.end()
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            numbers = (int.from_bytes(first, "big"), int.from_bytes(second, "big"))
            if scheme == ECDSA:
                key.verify(encode_dss_signature(*numbers), quote, ec.ECDSA(hashes.SHA256()))
            return scheme == ECDSA
        if scheme == RSASSA:
            key.verify(first, quote, padding.PKCS1v15(), hashes.SHA256())
        elif scheme == RSAPSS:
            salted = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.AUTO)
            key.verify(first, quote, salted, hashes.SHA256())
    except (InvalidSignature, ValueError):
        return False
    return scheme in (RSASSA, RSAPSS)
