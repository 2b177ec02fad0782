"""`keyring:`: DSSE envelopes by keys that lie in a folder of this machine. No network, no clock, no third party.

The folder is read for each question: a key that was taken away vouches for nothing from that moment on.
"""

from hashlib import sha256
from pathlib import Path

import anyio.to_thread

from hive.core.call import Refused
from hive.core.errors import SupplyError
from hive.security.supply_chain.drivers.ecdsa import verify_p256
from hive.security.supply_chain.envelope import SignedPayload, read_bundle
from hive.security.supply_chain.ports import Verified, refused
from hive.security.supply_chain.statement import PAYLOAD_TYPE, subject_problem
from hive.security.supply_chain.trust import TrustedKey, folder_of
from hive_a2a.crypto import verify_note


class KeyringVerifier:
    """Accepts what a key of the folder has signed."""

    def __init__(self, url: str, *, state: Path) -> None:
        self._folder = folder_of(url, state)

    async def verify(self, bundle: bytes, digest: str) -> Verified | Refused:
        """Check one bundle for the artifact with this digest."""
        return await anyio.to_thread.run_sync(self._verify, bundle, digest)

    def _verify(self, bundle: bytes, digest: str) -> Verified | Refused:
        try:
            signed = read_bundle(bundle)
            keys = self._folder.keys()
            if signed.payload_type != PAYLOAD_TYPE:
                return refused("Its signature is over another kind of document.")
            signer = _signer_of(signed, keys)
            if signer is None:
                return refused("No key that is trusted here has signed it.")
            problem = subject_problem(signed.payload, digest)
        except SupplyError as error:
            return refused(str(error))
        if problem:
            return refused(problem, f"signed by {signer.name}")
        return Verified(
            signer=signer.name,
            key=signer.id,
            digest=digest,
            bundle=sha256(bundle).hexdigest(),
            statement=signed.payload,
        )


def _signer_of(signed: SignedPayload, keys: dict[str, TrustedKey]) -> TrustedKey | None:
    """Return the key that signed. A key id only says which to try first: it is a stranger's word."""
    for claimed, signature in signed.signatures:
        named = [keys[claimed]] if claimed in keys else list(keys.values())
        for key in named:
            if _signed_by(key, signature, signed.signed_bytes):
                return key
    return None


def _signed_by(key: TrustedKey, signature: bytes, message: bytes) -> bool:
    if raw := key.ed25519:
        return verify_note(raw, signature, message)
    return verify_p256(key.der, signature, message)
