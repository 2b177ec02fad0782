"""Values that an agent keeps by name, apart for each owner whom it works for.

They outlive its sandbox, its turn and its node, whatever tier it runs in.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hive.core.errors import BadInputError, TooLargeError
from hive.core.ids import AgentId, OwnerId
from hive.engines.ports import Database

KEY_MAX_CHARS: Final = 256
VALUE_MAX_BYTES: Final = 256 << 10
SHELF_MAX_BYTES: Final = 16 << 20
SHELF_MAX_KEYS: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """Whose values: one agent's, of one owner."""

    agent: AgentId
    owner: OwnerId


class Values:
    """The table of kept values."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, shelf: Shelf, key: str) -> bytes | None:
        """Return a value, None where there is none. Raises BadInputError for a key that is none."""
        rows = await self._database.fetch(
            "SELECT value FROM agent_value WHERE agent = $1 AND owner = $2 AND key = $3",
            shelf.agent,
            shelf.owner,
            checked(key),
        )
        return _bytes(rows[0]["value"]) if rows else None

    async def keys(self, shelf: Shelf) -> Sequence[str]:
        """Return the names of all values, in order."""
        rows = await self._database.fetch(
            "SELECT key FROM agent_value WHERE agent = $1 AND owner = $2 ORDER BY key",
            shelf.agent,
            shelf.owner,
        )
        return [str(row["key"]) for row in rows]

    async def put(self, shelf: Shelf, key: str, value: bytes) -> None:
        """Keep a value, whatever was there.

        Raises:
            BadInputError: the key is none.
            TooLargeError: it is more than one value, or one owner's shelf, may hold.

        """
        if len(value) > VALUE_MAX_BYTES:
            raise TooLargeError(
                f"A value of {len(value)} bytes cannot be kept.",
                why=f"One value has at most {VALUE_MAX_BYTES}.",
            )
        async with self._database.transaction() as inside:
            # Two writers of one shelf in the same moment must not both find room for one.
            await inside.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))",
                f"agent_value {shelf.agent} {shelf.owner}",
            )
            await inside.execute(
                "INSERT INTO agent_value (agent, owner, key, value) VALUES ($1, $2, $3, $4)"
                " ON CONFLICT (agent, owner, key)"
                " DO UPDATE SET value = excluded.value, changed_at = clock_timestamp()",
                shelf.agent,
                shelf.owner,
                checked(key),
                value,
            )
            held = await inside.fetch(
                "SELECT count(*) AS keys, sum(length(value))::bigint AS bytes FROM agent_value"
                " WHERE agent = $1 AND owner = $2",
                shelf.agent,
                shelf.owner,
            )
            keys, size_bytes = (int(str(held[0][name])) for name in ("keys", "bytes"))
            if keys > SHELF_MAX_KEYS or size_bytes > SHELF_MAX_BYTES:
                raise TooLargeError(
                    f"{shelf.agent} keeps too much.",
                    why=f"It may keep {SHELF_MAX_KEYS} values with {SHELF_MAX_BYTES} bytes for one owner.",
                    fix="Let it forget some.",
                )

    async def forget(self, shelf: Shelf, key: str) -> None:
        """Forget a value; one that is not there is no error."""
        await self._database.execute(
            "DELETE FROM agent_value WHERE agent = $1 AND owner = $2 AND key = $3",
            shelf.agent,
            shelf.owner,
            checked(key),
        )


def checked(key: str) -> str:
    """Return a key that can be kept. Raises BadInputError."""
    if not 0 < len(key) <= KEY_MAX_CHARS or not key.isprintable():
        raise BadInputError(
            "The key cannot be used.",
            why=f"A key has 1 to {KEY_MAX_CHARS} signs that can be printed.",
        )
    return key


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else bytes(str(value), "utf-8")
