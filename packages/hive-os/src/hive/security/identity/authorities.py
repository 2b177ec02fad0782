"""The authorities of a trust domain as the database keeps them: generations, with sealed keys."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, cast

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from hive.engines.ports import Database, Row, Transaction
from hive.security.identity.certificates import key_from_der, key_to_der
from hive.security.identity.ports import SealedStore

ROOT: Final = "root"
INTERMEDIATE: Final = "intermediate"
TOKENS: Final = "tokens"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAuthority:
    """One generation: a certificate, those above it, and the key where it is here. Tokens have no certificate."""

    kind: str
    generation: int
    certificate: bytes
    above: tuple[bytes, ...]
    key: EllipticCurvePrivateKey | None
    made_at: datetime
    ends_at: datetime

    @property
    def parsed(self) -> x509.Certificate:
        """Return the certificate, read."""
        return x509.load_der_x509_certificate(self.certificate)

    def __repr__(self) -> str:
        return f"KeptAuthority({name_of(self.kind, self.generation)})"


class AuthorityShelf:
    """Reads and writes generations."""

    def __init__(self, database: Database, sealed: SealedStore) -> None:
        self._database = database
        self._sealed = sealed

    async def all(self) -> list[KeptAuthority]:
        """Return every generation that is kept, oldest first. Raises IdentityError."""
        rows = await self._database.fetch(
            "SELECT * FROM identity_authority ORDER BY kind, generation"
        )
        return [self._read(row) for row in rows]

    async def put(self, *made: KeptAuthority, keeps: int = 2) -> None:
        """Keep new generations, and of each kind the `keeps` newest, all in one transaction."""
        async with self._database.transaction() as transaction:
            # Two nodes that begin on one database must not both make the first root.
            await transaction.execute("SELECT pg_advisory_xact_lock(hashtext('hive.identity'))")
            for one in made:
                await self._put(transaction, one)
                await transaction.execute(
                    "DELETE FROM identity_authority WHERE kind = $1 AND generation <= $2",
                    one.kind,
                    one.generation - keeps,
                )

    async def forget_key(self, kind: str, generation: int) -> None:
        """Destroy a key; its certificate stays."""
        await self._database.execute(
            "UPDATE identity_authority SET sealed_key = NULL WHERE kind = $1 AND generation = $2",
            kind,
            generation,
        )

    async def _put(self, transaction: Transaction, one: KeptAuthority) -> None:
        name = name_of(one.kind, one.generation)
        sealed = None if one.key is None else self._sealed.seal(name, key_to_der(one.key))
        await transaction.execute(
            "INSERT INTO identity_authority"
            " (kind, generation, certificate, above, sealed_key, made_at, ends_at)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7)",
            one.kind,
            one.generation,
            one.certificate,
            _pem(one.above),
            sealed,
            one.made_at,
            one.ends_at,
        )

    def _read(self, row: Row) -> KeptAuthority:
        kind, generation = cast("str", row["kind"]), cast("int", row["generation"])
        sealed = cast("bytes | None", row["sealed_key"])
        key = None
        if sealed is not None:
            key = key_from_der(self._sealed.open(name_of(kind, generation), sealed))
        return KeptAuthority(
            kind=kind,
            generation=generation,
            certificate=cast("bytes", row["certificate"]),
            above=_from_pem(cast("bytes", row["above"])),
            key=key,
            made_at=cast("datetime", row["made_at"]),
            ends_at=cast("datetime", row["ends_at"]),
        )


def name_of(kind: str, generation: int) -> str:
    """Return the name under which a generation's key is sealed."""
    return f"{kind}.{generation}"


def _pem(certificates: tuple[bytes, ...]) -> bytes:
    read = map(x509.load_der_x509_certificate, certificates)
    return b"".join(one.public_bytes(Encoding.PEM) for one in read)


def _from_pem(data: bytes) -> tuple[bytes, ...]:
    if not data:
        return ()
    return tuple(one.public_bytes(Encoding.DER) for one in x509.load_pem_x509_certificates(data))
