"""Secrets that only the node uses: named, sealed with AES-256-GCM, never shown again.

One data key seals all of them and is itself wrapped by the node's master key. A row's name and its data key
are bound into the seal: a row that was changed, cut, renamed or exchanged does not open, and never opens as
another secret. Rotating makes a new data key, seals everything anew and destroys the old one, so that copies of
the database from before hold nothing that the new key opens.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Final, cast

import anyio

from hive.core.clock import Clock
from hive.core.errors import BadInputError, ConfigError, InvalidIdError, LedgerError, NotFoundError
from hive.core.randomness import Randomness
from hive.core.secret import Secret
from hive.engines.ports import Database, Row, Transaction
from hive_a2a.crypto import derive_key, open_sealed, seal
from hive_a2a.errors import CryptoError

KEY_BYTES: Final = 32
SECRETS_MAX: Final = 1000
SECRET_MAX_BYTES: Final = 64 << 10
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_PURPOSE: Final = b"hive vault keys v1"
_KEY_DOMAIN: Final = b"hive.vault.key.v1"
_SECRET_DOMAIN: Final = b"hive.vault.secret.v1"
# One writer at a time: a secret set while the data key changes would be sealed under one that is destroyed.
_LOCK_SQL: Final = "SELECT pg_advisory_xact_lock(hashtext('hive.vault'))"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptSecret:
    """What may be told of a secret: all but itself. `used_at` is when the node last took it out."""

    name: str
    set_at: datetime
    used_at: datetime | None


@dataclass(frozen=True, slots=True)
class _DataKey:
    id: str
    raw: bytes

    def __repr__(self) -> str:
        return f"_DataKey({self.id})"


class Vault:
    """Put, take out, list and remove secrets; change the key that they are sealed under.

    `revision` counts what was put and removed in this process.
    """

    revision: ClassVar[int] = 0

    def __init__(
        self, *, database: Database, master_key: bytes, clock: Clock, randomness: Randomness
    ) -> None:
        self._database = database
        self._wrapping = wrapping_key(master_key)
        self._clock = clock
        self._randomness = randomness
        self._lock = anyio.Lock()

    async def put(self, name: str, secret: Secret) -> None:
        """Keep a secret, in place of one of the same name.

        Raises:
            InvalidIdError: the name cannot be one.
            BadInputError: the secret is empty or too long, or there are too many.
            LedgerError: the data key does not open: another master key made it, or it was changed.

        """
        secret_name(name)
        text = secret.reveal().encode()
        if not 0 < len(text) <= SECRET_MAX_BYTES:
            raise BadInputError(
                f"The secret {name!r} cannot be kept.",
                why=f"It has {len(text)} bytes; 1 to {SECRET_MAX_BYTES} are allowed.",
            )
        async with self._lock, self._database.transaction() as transaction:
            await transaction.execute(_LOCK_SQL)
            counted = await transaction.fetch(
                "SELECT count(*) AS n FROM vault_secret WHERE name <> $1", name
            )
            if cast("int", counted[0]["n"]) >= SECRETS_MAX:
                raise BadInputError(
                    "The vault is full.", why=f"It holds {SECRETS_MAX}.", fix="hive secret rm NAME"
                )
            key = await self._data_key(transaction) or await self._new_key(transaction)
            await transaction.execute(
                "INSERT INTO vault_secret (name, key_id, sealed, set_at) VALUES ($1, $2, $3, $4) "
                "ON CONFLICT (name) DO UPDATE SET key_id = $2, sealed = $3, set_at = $4, "
                "used_at = NULL",
                name,
                key.id,
                seal(key.raw, text, _binding(key.id, name)),
                self._clock.now(),
            )
        Vault.revision += 1

    async def get(self, name: str) -> Secret:
        """Take a secret out.

        Raises:
            NotFoundError: there is none of that name.
            LedgerError: it does not open: another master key sealed it, or it was changed.

        """
        # One query without a lock: secret and data key are of one moment, whatever rotates meanwhile.
        rows = await self._database.fetch(
            "SELECT s.name, s.key_id, s.sealed, k.id, k.wrapped "
            "FROM vault_secret s JOIN vault_key k ON k.id = s.key_id WHERE s.name = $1",
            name,
        )
        if not rows:
            raise _missing(name)
        secret = _opened(unwrapped(self._wrapping, rows[0]), rows[0], name)
        await self._database.execute(
            "UPDATE vault_secret SET used_at = $2 WHERE name = $1", name, self._clock.now()
        )
        return secret

    async def values(self) -> Mapping[str, Secret]:
        """Take out all secrets at once, for whoever makes sure that none leaves; that is no use of them.

        Raises:
            LedgerError: one does not open: another master key sealed it, or it was changed.

        """
        rows = await self._database.fetch(
            "SELECT s.name, s.key_id, s.sealed, k.id, k.wrapped "
            "FROM vault_secret s JOIN vault_key k ON k.id = s.key_id"
        )
        found: dict[str, Secret] = {}
        keys: dict[str, _DataKey] = {}
        for row in rows:
            name, key_id = cast("str", row["name"]), cast("str", row["key_id"])
            if key_id not in keys:
                keys[key_id] = unwrapped(self._wrapping, row)
            found[name] = _opened(keys[key_id], row, name)
        return found

    async def list(self) -> Sequence[KeptSecret]:
        """Return what is kept, by name."""
        rows = await self._database.fetch(
            "SELECT name, set_at, used_at FROM vault_secret ORDER BY name"
        )
        return [
            KeptSecret(
                name=cast("str", row["name"]),
                set_at=cast("datetime", row["set_at"]),
                used_at=cast("datetime | None", row["used_at"]),
            )
            for row in rows
        ]

    async def remove(self, name: str) -> None:
        """Forget a secret.

        Raises:
            NotFoundError: there is none of that name.

        """
        tag = await self._database.execute("DELETE FROM vault_secret WHERE name = $1", name)
        if tag.endswith(" 0"):
            raise _missing(name)
        Vault.revision += 1

    async def rotate(self) -> int:
        """Seal all secrets under a new data key and destroy the old one; return how many.

        Raises:
            LedgerError: one does not open; nothing was changed.

        """
        async with self._lock, self._database.transaction() as transaction:
            await transaction.execute(_LOCK_SQL)
            rows = await transaction.fetch(
                "SELECT s.name, s.key_id, s.sealed, k.id, k.wrapped "
                "FROM vault_secret s JOIN vault_key k ON k.id = s.key_id"
            )
            fresh = await self._new_key(transaction)
            for row in rows:
                name = cast("str", row["name"])
                secret = _opened(unwrapped(self._wrapping, row), row, name)
                await transaction.execute(
                    "UPDATE vault_secret SET key_id = $2, sealed = $3 WHERE name = $1",
                    name,
                    fresh.id,
                    seal(fresh.raw, secret.reveal().encode(), _binding(fresh.id, name)),
                )
            await transaction.execute("DELETE FROM vault_key WHERE id <> $1", fresh.id)
            return len(rows)

    async def _data_key(self, transaction: Transaction) -> _DataKey | None:
        rows = await transaction.fetch(
            "SELECT id, wrapped FROM vault_key ORDER BY made_at DESC LIMIT 1"
        )
        return unwrapped(self._wrapping, rows[0]) if rows else None

    async def _new_key(self, transaction: Transaction) -> _DataKey:
        key = _DataKey(self._randomness.token(16).hex(), self._randomness.token(KEY_BYTES))
        await transaction.execute(
            "INSERT INTO vault_key (id, wrapped, made_at) VALUES ($1, $2, $3)",
            key.id,
            rewrapped(self._wrapping, key),
            self._clock.now(),
        )
        return key


def wrapping_key(master_key: bytes) -> bytes:
    """Derive the key that wraps the vault's data keys, and nothing else.

    Raises:
        ConfigError: the master key has the wrong size.

    """
    if len(master_key) != KEY_BYTES:
        raise ConfigError(
            "The master key has the wrong size.",
            why=f"It has {len(master_key)} bytes, not {KEY_BYTES}.",
            fix="head -c 32 /dev/urandom | base64 > /path; export HIVE_MASTER_KEY_FILE=/path",
        )
    return derive_key(master_key, info=_PURPOSE)


def unwrapped(wrapping: bytes, row: Row) -> _DataKey:
    """Open a data key of the vault.

    Raises:
        LedgerError: another master key wrapped it, or it was changed.

    """
    key_id = cast("str", row["id"])
    try:
        raw = open_sealed(wrapping, cast("bytes", row["wrapped"]), _binding_of_key(key_id))
    except CryptoError as error:
        raise LedgerError(
            "The vault's data key cannot be unwrapped.",
            why="It was wrapped by another master key, or it was changed.",
            fix="Start with the HIVE_MASTER_KEY that this database was written with.",
        ) from error
    return _DataKey(key_id, raw)


def rewrapped(wrapping: bytes, key: _DataKey) -> bytes:
    """Wrap a data key."""
    return seal(wrapping, key.raw, _binding_of_key(key.id))


def secret_name(text: str) -> str:
    """Return a secret's name where it can be one.

    Raises:
        InvalidIdError: it cannot.

    """
    if not _NAME.fullmatch(text):
        raise InvalidIdError(
            "That name cannot be a secret's.",
            why="It has 1 to 100 letters, digits, dots, dashes and underscores.",
            fix="Choose another, such as openai-key.",
        )
    return text


def _opened(key: _DataKey, row: Row, name: str) -> Secret:
    try:
        text = open_sealed(key.raw, cast("bytes", row["sealed"]), _binding(key.id, name))
    except CryptoError as error:
        raise LedgerError(
            f"The secret {name!r} cannot be opened.",
            why="Its row in the database was changed or belongs to another.",
            fix=f"Set it again: hive secret set {name}",
        ) from error
    return Secret(text.decode())


def _binding(key_id: str, name: str) -> bytes:
    return b"\0".join((_SECRET_DOMAIN, key_id.encode(), name.encode()))


def _binding_of_key(key_id: str) -> bytes:
    return b"\0".join((_KEY_DOMAIN, key_id.encode()))


def _missing(name: str) -> NotFoundError:
    return NotFoundError(
        f"There is no secret {name[:100]!r}.", fix="hive secret list     shows the names"
    )
