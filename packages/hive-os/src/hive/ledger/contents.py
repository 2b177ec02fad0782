"""Contents of entries and tasks, sealed: the id is the hash of the ciphertext, the key the owner's.

One key per owner and retention class, wrapped by the node's master key. Forgetting an owner destroys
those keys: what was sealed is noise from then on, and the chain, which names ciphertext, stays whole.
Equal content of one owner has one id; of two owners never, so nobody learns what others hold.
"""

import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

from hive.core.errors import ConfigError, ConflictError, LedgerError
from hive.core.ids import OwnerId
from hive.core.randomness import Randomness, SystemRandomness
from hive.engines.ports import Database
from hive_a2a.crypto import open_sealed, seal, seal_alike
from hive_a2a.errors import CryptoError

KEY_BYTES: Final = 32
KEYS_CACHED_MAX: Final = 4096
RETENTION_DEFAULT: Final = "default"
_KEY_ROUNDS_MAX: Final = 4
_DOMAIN: Final = b"hive.content.v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedContent:
    """Ciphertext under one owner's key; `id` is its SHA-256."""

    id: str
    key_id: str
    sealed: bytes


@dataclass(frozen=True, slots=True)
class _ContentKey:
    id: str
    secret: bytes


class Contents:
    """Seal and open contents. Keys are cached, so forgetting goes through the node that caches them."""

    def __init__(
        self,
        database: Database,
        *,
        master_key: bytes,
        randomness: Randomness | None = None,
        keys_cached_max: int = KEYS_CACHED_MAX,
    ) -> None:
        if len(master_key) != KEY_BYTES:
            raise ConfigError(
                "The master key has the wrong size.",
                why=f"It has {len(master_key)} bytes, not {KEY_BYTES}.",
                fix="head -c 32 /dev/urandom | base64 > /path; export HIVE_MASTER_KEY_FILE=/path",
            )
        self._database = database
        self._wrapping = _derive(master_key, "wrap")
        self._commitments = _derive(master_key, "commit")
        self._randomness = randomness or SystemRandomness()
        self._keys_cached_max = keys_cached_max
        self._by_owner: OrderedDict[tuple[OwnerId, str], _ContentKey] = OrderedDict()
        self._by_id: OrderedDict[str, _ContentKey | None] = OrderedDict()

    async def seal(
        self, owner: OwnerId, plaintext: bytes, *, retention: str = RETENTION_DEFAULT
    ) -> SealedContent:
        """Seal content for its owner; nothing is stored yet.

        Raises:
            EngineUnavailableError: the owner's key must be fetched and the database is away.
            LedgerError: the owner's key was wrapped by another master key.

        """
        key = self._by_owner.get((owner, retention)) or await self._key_of(owner, retention)
        sealed = seal_alike(key.secret, plaintext, _DOMAIN)
        return SealedContent(id=hashlib.sha256(sealed).hexdigest(), key_id=key.id, sealed=sealed)

    async def open(self, content_id: str) -> bytes | None:
        """Return the content of an id; None where its owner was forgotten.

        Raises:
            LedgerError: it is missing or was changed.

        """
        return (await self.open_many([content_id]))[content_id]

    async def open_many(self, content_ids: Iterable[str]) -> Mapping[str, bytes | None]:
        """Return the contents of many ids in one query; None where an owner was forgotten.

        Raises:
            LedgerError: one is missing or was changed.

        """
        wanted = list(dict.fromkeys(content_ids))
        if not wanted:
            return {}
        rows = await self._database.fetch(
            "SELECT id, key_id, sealed FROM content WHERE id = ANY($1::text[])", wanted
        )
        found = await self.unseal(
            [
                SealedContent(
                    id=cast("str", row["id"]),
                    key_id=cast("str", row["key_id"]),
                    sealed=cast("bytes", row["sealed"]),
                )
                for row in rows
            ]
        )
        for content_id in wanted:
            if content_id not in found:
                raise _broken(content_id, "It is missing.")
        return found

    async def unseal(self, sealed: Sequence[SealedContent]) -> dict[str, bytes | None]:
        """Open contents that were read already; None where an owner was forgotten.

        Raises:
            LedgerError: one was changed.

        """
        await self._load_keys({one.key_id for one in sealed})
        opened: dict[str, bytes | None] = {}
        for one in sealed:
            key = self._by_id[one.key_id]
            if key is None:
                opened[one.id] = None
                continue
            if hashlib.sha256(one.sealed).hexdigest() != one.id:
                raise _broken(one.id, "Its hash is another one.")
            try:
                opened[one.id] = open_sealed(key.secret, one.sealed, _DOMAIN)
            except CryptoError as error:
                raise _broken(one.id, "It does not open with its key.") from error
        return opened

    async def forget(self, owner: OwnerId, *, retention: str | None = None) -> int:
        """Destroy an owner's keys; return how many. What they sealed can never be read again."""
        rows = await self._database.fetch(
            "UPDATE content_key SET wrapped = NULL, forgotten_at = clock_timestamp() "
            "WHERE owner = $1 AND wrapped IS NOT NULL AND ($2::text IS NULL OR retention = $2) "
            "RETURNING id, retention",
            owner,
            retention,
        )
        for row in rows:
            self._by_owner.pop((owner, cast("str", row["retention"])), None)
            self._remember(cast("str", row["id"]), None)
        return len(rows)

    def commitment(self, text: str) -> str:
        """Return a keyed hash of a guessable text, to be named in an entry's body instead of it."""
        return hmac.digest(self._commitments, text.encode(), "sha256").hex()

    async def _key_of(self, owner: OwnerId, retention: str) -> _ContentKey:
        for _ in range(_KEY_ROUNDS_MAX):
            rows = await self._database.fetch(
                "SELECT id, owner, retention, wrapped FROM content_key "
                "WHERE owner = $1 AND retention = $2 AND wrapped IS NOT NULL",
                owner,
                retention,
            )
            if rows:
                key = self._unwrap(rows[0])
                self._by_owner[owner, retention] = key
                if len(self._by_owner) > self._keys_cached_max:
                    self._by_owner.popitem(last=False)
                return key
            try:
                await self._create_key(owner, retention)
            except ConflictError:
                continue  # Somebody made it in this moment: read theirs.
        raise LedgerError(
            "No key for the content of this owner could be made.",
            why="It was forgotten again each time.",
            fix="Try again.",
        )

    async def _create_key(self, owner: OwnerId, retention: str) -> None:
        key_id = self._randomness.token(16).hex()
        wrapped = seal(
            self._wrapping,
            self._randomness.token(KEY_BYTES),
            _binding(key_id, owner, retention),
        )
        await self._database.execute(
            "INSERT INTO content_key (id, owner, retention, wrapped) VALUES ($1, $2, $3, $4)",
            key_id,
            owner,
            retention,
            wrapped,
        )

    async def _load_keys(self, key_ids: set[str]) -> None:
        missing = [key_id for key_id in key_ids if key_id not in self._by_id]
        if not missing:
            return
        rows = await self._database.fetch(
            "SELECT id, owner, retention, wrapped FROM content_key WHERE id = ANY($1::text[])",
            missing,
        )
        for key_id in missing:
            self._remember(key_id, None)
        for row in rows:
            if row["wrapped"] is not None:
                self._unwrap(row)

    def _unwrap(self, row: Mapping[str, object]) -> _ContentKey:
        key_id, wrapped = cast("str", row["id"]), cast("bytes", row["wrapped"])
        try:
            raw = open_sealed(
                self._wrapping,
                wrapped,
                _binding(key_id, cast("str", row["owner"]), cast("str", row["retention"])),
            )
        except CryptoError as error:
            raise LedgerError(
                "The key of an owner's contents cannot be unwrapped.",
                why="It was wrapped by another master key, or it was changed.",
                fix="Start with the HIVE_MASTER_KEY that this database was written with.",
            ) from error
        key = _ContentKey(key_id, raw)
        self._remember(key_id, key)
        return key

    def _remember(self, key_id: str, key: _ContentKey | None) -> None:
        self._by_id[key_id] = key
        self._by_id.move_to_end(key_id)
        if len(self._by_id) > self._keys_cached_max:
            self._by_id.popitem(last=False)


def _derive(key: bytes, purpose: str) -> bytes:
    return hmac.digest(key, _DOMAIN + b"." + purpose.encode(), "sha256")


def _binding(key_id: str, owner: str, retention: str) -> bytes:
    return b"\0".join((_DOMAIN, key_id.encode(), owner.encode(), retention.encode()))


def _broken(content_id: str, why: str) -> LedgerError:
    return LedgerError(
        f"Content {content_id[:16]} of the ledger cannot be read.",
        why=why,
        fix="Run `hive audit verify`.",
    )


def rewrapped_key(row: Mapping[str, object], old_master: bytes, new_master: bytes) -> bytes:
    """Return an owner's key, a row of `content_key`, wrapped by another master key.

    A row that the new one wrapped already is given back as it is, so that a change that was cut short can be
    done again.

    Raises:
        LedgerError: neither opens it.

    """
    wrapped = cast("bytes", row["wrapped"])
    binding = _binding(
        cast("str", row["id"]), cast("str", row["owner"]), cast("str", row["retention"])
    )
    try:
        raw = open_sealed(_derive(old_master, "wrap"), wrapped, binding)
    except CryptoError:
        try:
            open_sealed(_derive(new_master, "wrap"), wrapped, binding)
        except CryptoError as error:
            raise LedgerError(
                "The key of an owner's contents cannot be unwrapped.",
                why="It was wrapped by another master key, or it was changed.",
                fix="Start with the HIVE_MASTER_KEY that this database was written with.",
            ) from error
        return wrapped
    return seal(_derive(new_master, "wrap"), raw, binding)
