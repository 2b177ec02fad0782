"""The machines whose TPM may speak for a node: a file of the operator, read anew for each registration.

[rack-1]
key = "-----BEGIN PUBLIC KEY-----..."       the attestation key: restricted, for signing (tpm2_createak)
pcrs = { 0 = "hex", 7 = "hex" }              what it has measured when it runs what it should (SHA-256)
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)

from hive.core.errors import AttestationError, ConfigError
from hive.core.json import Json
from hive.core.tpm_quotes import MachineKey, check_quote, signed_by
from hive.security.identity.registration.answers import RegistrationAnswer, qualifier_of
from hive.security.identity.registration.challenges import refused

REGISTERS_MAX: Final = 24
RSA_MIN_BITS: Final = 2048
VALUE_BYTES: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine that is known: its name, its attestation key, and what its registers hold."""

    name: str
    key: MachineKey
    registers: Mapping[int, bytes]

    @property
    def id(self) -> str:
        """Return what stands for its TPM: the SHA-256 of the key."""
        spki = self.key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return sha256(spki).hexdigest()


def read_machines(path: str) -> list[Machine]:
    """Return the machines of a file.

    Raises:
        ConfigError: it cannot be read, or a machine in it has no usable key or no registers.

    """
    try:
        table = tomllib.loads(Path(path).read_text())
        return [_machine(name, told) for name, told in table.items()]
    except (OSError, ValueError) as error:
        raise ConfigError(
            "HIVE_NODE_MACHINES cannot be used.",
            why=f"{path}: {error}",
            fix='[name]  key = "PEM"  pcrs = { 0 = "SHA-256 in hexadecimal" }',
        ) from error


def machine_that_vouches(answer: RegistrationAnswer, machines: list[Machine]) -> Machine:
    """Return the machine whose TPM made the answer's quote.

    Raises:
        IdentityError: none of them did, for this challenge and in this state.

    """
    evidence = (answer.quote, answer.quote_signature)
    try:
        signer = next((one for one in machines if signed_by(*evidence, one.key)), None)
        if signer is None:
            raise refused("The key of no known machine signed the quote, or it was changed.")
        check_quote(answer.quote, qualifier=qualifier_of(answer), registers=signer.registers)
    except AttestationError as error:
        raise refused(error.why) from error
    return signer


def _machine(name: str, told: Json) -> Machine:
    if not isinstance(told, dict) or set(told) != {"key", "pcrs"}:
        raise ValueError(f"[{name}] needs key and pcrs, and nothing else")
    pem, values = told["key"], told["pcrs"]
    if not isinstance(pem, str) or not isinstance(values, dict) or not values:
        raise ValueError(f"[{name}] needs a key in PEM and at least one register")
    key = load_pem_public_key(pem.encode())
    curve = isinstance(key, ec.EllipticCurvePublicKey)
    if not curve and not (isinstance(key, rsa.RSAPublicKey) and key.key_size >= RSA_MIN_BITS):
        raise ValueError(
            f"[{name}] has a key that is neither of a curve nor RSA of {RSA_MIN_BITS} bits"
        )
    registers = {int(number): bytes.fromhex(str(value)) for number, value in values.items()}
    if not all(
        0 <= number < REGISTERS_MAX and len(value) == VALUE_BYTES
        for number, value in registers.items()
    ):
        raise ValueError(f"[{name}] has a register that is none, or a value that is no SHA-256")
    return Machine(name=name, key=key, registers=registers)  # type: ignore[arg-type]
