"""`sigstore:`: keyless bundles, verified with what lies here: no request leaves the machine.

Who signed is pinned twice, by the issuer of the identity and by its name; one without the other would let anybody with an
account at that issuer, or an issuer of that name, sign for this node. The trust root is the one of the installed package
or the file that `root=` names; refreshing it is an operator's act, never a side effect of a check.
"""

from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

import anyio.to_thread
from sigstore.errors import Error as SigstoreError
from sigstore.hashes import Hashed
from sigstore.models import Bundle, TrustedRoot
from sigstore.verify import Verifier as SigstoreLibrary
from sigstore.verify.policy import Identity
from sigstore_models.common.v1 import HashAlgorithm

from hive.core.call import Refused
from hive.core.drivers import query_of
from hive.core.errors import ConfigError, SupplyError
from hive.core.ids import plain_text
from hive.security.supply_chain.ports import Verified, refused
from hive.security.supply_chain.statement import PAYLOAD_TYPE, subject_problem
from hive.security.supply_chain.strict_json import decode_strict

_ROOTS: Final = {
    "production": "https://tuf-repo-cdn.sigstore.dev",
    "staging": "https://tuf-repo-cdn.sigstage.dev",
}


class SigstoreVerifier:
    """Accepts what one pinned identity has signed."""

    def __init__(self, url: str, *, state: Path) -> None:
        del state
        query = {key: unquote(value) for key, value in query_of(url).items()}
        self._issuer, self._subject = query.get("issuer", ""), query.get("subject", "")
        if not self._issuer or not self._subject or set(query) - {"issuer", "subject", "root"}:
            raise ConfigError(
                "HIVE_VERIFY_URL=sigstore: does not say whom to trust.",
                why="It needs both an issuer and a subject; `root` is the only other word.",
                fix="HIVE_VERIFY_URL='sigstore:?issuer=https://issuer&subject=release@example.org'",
            )
        self._root = query.get("root", "production")

    @property
    def root_file(self) -> Path | None:
        """Return the file of the trust root that an operator keeps; None where it is the installed package's."""
        return None if self._root in _ROOTS else Path(self._root)

    async def verify(self, bundle: bytes, digest: str) -> Verified | Refused:
        """Check one bundle for the artifact with this digest."""
        return await anyio.to_thread.run_sync(self._verify, bundle, digest)

    def _verify(self, bundle: bytes, digest: str) -> Verified | Refused:
        library = SigstoreLibrary(trusted_root=_trusted_root(self._root))
        policy = Identity(identity=self._subject, issuer=self._issuer)
        try:
            decode_strict(bundle, what="The signature bundle")
            parsed = Bundle.from_json(bundle)
            statement = None
            if parsed._inner.dsse_envelope is None:  # noqa: SLF001 - the library does not tell otherwise
                hashed = Hashed(algorithm=HashAlgorithm.SHA2_256, digest=bytes.fromhex(digest))
                library.verify_artifact(hashed, parsed, policy)
            else:
                kind, statement = library.verify_dsse(parsed, policy)
                if kind != PAYLOAD_TYPE:
                    return refused("Its signature is over another kind of document.")
                if problem := subject_problem(statement, digest):
                    return refused(problem, f"signed by {self._subject}")
        except SupplyError as error:
            return refused(str(error))
        except (SigstoreError, ValueError) as error:
            return refused("Its keyless signature does not verify.", plain_text(str(error))[:400])
        return Verified(
            signer=self._subject,
            key=f"{self._issuer}#{self._subject}",
            digest=digest,
            bundle=sha256(bundle).hexdigest(),
            statement=statement,
        )


def _trusted_root(name: str) -> TrustedRoot:
    place = name
    if name in _ROOTS:
        place = str(files("sigstore._store") / quote(_ROOTS[name], safe="") / "trusted_root.json")
    try:
        return TrustedRoot.from_file(place)
    except (OSError, ValueError, SigstoreError) as error:
        raise ConfigError(
            "The trust root of Sigstore cannot be read.",
            why=plain_text(str(error))[:300],
            fix="Correct `root=` in HIVE_VERIFY_URL, or leave it out for the installed one.",
        ) from error
