"""`cosign:`: OCI images that cosign signed with a key. What is signed is a small document that names the image's digest.

    {"critical": {"image": {"docker-manifest-digest": "sha256:..."}, "type": "cosign container image signature", ...}}

The name in it (`docker-reference`) is where the signer pushed to; images move, so the digest alone counts.
"""

from hashlib import sha256
from pathlib import Path
from typing import Final

import anyio.to_thread

from hive.core.call import Refused
from hive.core.errors import SupplyError
from hive.core.json import Json
from hive.security.supply_chain.drivers.ecdsa import verify_p256
from hive.security.supply_chain.envelope import SIGNATURES_MAX, unbase64
from hive.security.supply_chain.ports import Verified, refused
from hive.security.supply_chain.strict_json import decode_strict
from hive.security.supply_chain.trust import FOLDER, TrustedKey, TrustFolder, read_public_key
from hive_a2a.crypto import verify_note

_TYPE: Final = "cosign container image signature"


class CosignVerifier:
    """Accepts images that one key, or a key of the folder, has signed."""

    def __init__(self, url: str, *, state: Path) -> None:
        named = url.partition(":")[2].partition("?")[0]
        self._place = Path(named) if named else state / FOLDER

    async def verify(self, bundle: bytes, digest: str) -> Verified | Refused:
        """Check the signatures that lie beside an image (`hive.security.supply_chain.oci`) for its manifest's digest."""
        return await anyio.to_thread.run_sync(self._verify, bundle, digest)

    def _verify(self, bundle: bytes, digest: str) -> Verified | Refused:
        try:
            keys = self._keys()
            pairs = _pairs(decode_strict(bundle, what="The list of signatures"))
            for payload, signature in pairs:
                signer = next((one for one in keys if _signed_by(one, signature, payload)), None)
                if signer is not None and _names_image(payload, digest):
                    return Verified(
                        signer=signer.name,
                        key=signer.id,
                        digest=digest,
                        bundle=sha256(bundle).hexdigest(),
                        statement=None,
                    )
        except SupplyError as error:
            return refused(str(error))
        return refused("No key that is trusted here has signed this image.")

    def _keys(self) -> list[TrustedKey]:
        if self._place.is_dir() or not self._place.exists():
            return list(TrustFolder(self._place).keys().values())
        return [TrustedKey(name=self._place.stem, der=read_public_key(self._place))]


def _signed_by(key: TrustedKey, signature: bytes, payload: bytes) -> bool:
    if raw := key.ed25519:
        return verify_note(raw, signature, payload)
    return verify_p256(key.der, signature, payload)


def _names_image(payload: bytes, digest: str) -> bool:
    match decode_strict(payload, what="What cosign signed"):
        case {"critical": {"type": str(kind), "image": {"docker-manifest-digest": str(said)}}}:
            return kind == _TYPE and said == f"sha256:{digest}"
    return False


def _pairs(document: Json) -> list[tuple[bytes, bytes]]:
    found = []
    for one in document if isinstance(document, list) else ():
        match one:
            case {"payload": str(payload), "signature": str(signature)}:
                found.append((unbase64(payload), unbase64(signature)))
    return found[:SIGNATURES_MAX]
