"""Another master key, while no node runs: everything that the old one wrapped, wrapped anew in one transaction.

Contents and secrets themselves stay as they are: their own keys are wrapped, not they. What was cut short is
done again with the same new key. Hashes of arguments in the ledger were made with the old key and cannot be
made again, so a run of before cannot be matched by them.
"""

from pathlib import Path
from typing import Final, cast

from hive.core.clock import SystemClock
from hive.core.errors import LedgerError
from hive.core.randomness import SystemRandomness
from hive.core.settings import Settings
from hive.engines import open_database
from hive.engines.ports import Transaction
from hive.ledger.contents import rewrapped_key
from hive.node.build import all_migrations
from hive.node.database_svid import DatabaseSvid
from hive.node.master_key import read_master_key
from hive.node.state import StateFolder
from hive.protocols.a2a.push import KEY_PURPOSE, resealed
from hive.security.identity.authorities import name_of
from hive.security.identity.sealed_keys import resealed_key
from hive.security.vault import rewrapped, unwrapped, wrapping_key
from hive.web.secrets import Rekeyed
from hive_a2a.crypto import derive_key

ROWS_AT_ONCE: Final = 1000


async def change_master_key(settings: Settings, file: Path) -> Rekeyed:
    """Wrap everything with the key in `file` instead of the present one.

    Raises:
        ConfigError: a node runs on the state folder, or the file holds no key.
        LedgerError: something was wrapped by neither key; nothing was changed.

    """
    new = read_master_key(file)
    state = StateFolder(settings, SystemClock(), SystemRandomness())
    with state.locked():
        old, svid = state.master_key, DatabaseSvid(state, SystemClock())
        async with (
            open_database(
                settings, migrations=all_migrations(), database_tls=svid.context
            ) as database,
            database.transaction() as transaction,
        ):
            contents = await _content_keys(transaction, old, new)
            vault = await _vault_keys(transaction, old, new)
            pushes = await _push_configs(transaction, old, new)
            await _identity_keys(transaction, old, new)
        svid.reseal(old, new)
        kept = state.replace_master_key(new)
    return Rekeyed(content_keys=contents, vault_keys=vault, push_configs=pushes, kept=kept)


async def _content_keys(transaction: Transaction, old: bytes, new: bytes) -> int:
    done, after = 0, ""
    while True:
        rows = await transaction.fetch(
            "SELECT id, owner, retention, wrapped FROM content_key "
            "WHERE wrapped IS NOT NULL AND id > $1 ORDER BY id LIMIT $2",
            after,
            ROWS_AT_ONCE,
        )
        for row in rows:
            after = cast("str", row["id"])
            await transaction.execute(
                "UPDATE content_key SET wrapped = $2 WHERE id = $1",
                after,
                rewrapped_key(row, old, new),
            )
        done += len(rows)
        if len(rows) < ROWS_AT_ONCE:
            return done


async def _vault_keys(transaction: Transaction, old: bytes, new: bytes) -> int:
    rows = await transaction.fetch("SELECT id, wrapped FROM vault_key")
    for row in rows:
        try:
            key = unwrapped(wrapping_key(old), row)
        except LedgerError:
            key = unwrapped(wrapping_key(new), row)
        await transaction.execute(
            "UPDATE vault_key SET wrapped = $2 WHERE id = $1",
            row["id"],
            rewrapped(wrapping_key(new), key),
        )
    return len(rows)


async def _identity_keys(transaction: Transaction, old: bytes, new: bytes) -> None:
    rows = await transaction.fetch(
        "SELECT kind, generation, sealed_key FROM identity_authority WHERE sealed_key IS NOT NULL"
    )
    for row in rows:
        kind, generation = cast("str", row["kind"]), cast("int", row["generation"])
        sealed = resealed_key(name_of(kind, generation), cast("bytes", row["sealed_key"]), old, new)
        await transaction.execute(
            "UPDATE identity_authority SET sealed_key = $3 WHERE kind = $1 AND generation = $2",
            kind,
            generation,
            sealed,
        )


async def _push_configs(transaction: Transaction, old: bytes, new: bytes) -> int:
    keys = [derive_key(key, info=KEY_PURPOSE) for key in (old, new)]
    done, after = 0, ("", "")
    while True:
        rows = await transaction.fetch(
            "SELECT task, id, sealed FROM push_config WHERE (task, id) > ($1, $2) "
            "ORDER BY task, id LIMIT $3",
            *after,
            ROWS_AT_ONCE,
        )
        for row in rows:
            after = (cast("str", row["task"]), cast("str", row["id"]))
            if (sealed := resealed(row, keys[0], keys[1])) is not None:
                await transaction.execute(
                    "UPDATE push_config SET sealed = $3 WHERE task = $1 AND id = $2",
                    *after,
                    sealed,
                )
                done += 1
        if len(rows) < ROWS_AT_ONCE:
            return done
