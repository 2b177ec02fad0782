"""The vault on a real database: what it keeps, what a changed row gives, and what a thief of the database has."""

from datetime import timedelta

import anyio
import pytest

from hive.core.errors import BadInputError, ConfigError, InvalidIdError, LedgerError, NotFoundError
from hive.core.randomness import SystemRandomness
from hive.core.secret import Secret
from hive.engines import load_migrations
from hive.security.vault import SECRET_MAX_BYTES, Vault
from hive.testing.clock import StoppedClock

pytestmark = pytest.mark.anyio
MASTER, OTHER = b"m" * 32, b"o" * 32
VALUE = "sk-a-real-key-that-nobody-may-see"


@pytest.fixture
def migrations():
    return load_migrations("hive.security")


@pytest.fixture
def clock():
    return StoppedClock()


@pytest.fixture
def opened(database, clock):
    def with_key(master_key=MASTER):
        return Vault(
            database=database, master_key=master_key, clock=clock, randomness=SystemRandomness()
        )

    return with_key


async def everything(database):
    """Return all that the vault has in the database, as text."""
    rows = [
        *await database.fetch("SELECT * FROM vault_secret"),
        *await database.fetch("SELECT * FROM vault_key"),
    ]
    return b"".join(
        value if isinstance(value, bytes) else str(value).encode()
        for row in rows
        for value in dict(row).values()
    )


async def test_a_secret_comes_back_after_a_restart_and_its_dates_are_told(opened, clock):
    vault = opened()
    await vault.put("openai", Secret(VALUE))
    [kept] = await vault.list()
    assert (kept.name, kept.set_at, kept.used_at) == ("openai", clock.now(), None)
    clock.advance(60)
    assert (await opened().get("openai")).reveal() == VALUE
    [kept] = await vault.list()
    assert kept.used_at == kept.set_at + timedelta(seconds=60)
    assert VALUE not in repr(kept)


async def test_a_new_value_takes_the_place_of_the_old_one(opened):
    vault = opened()
    await vault.put("a", Secret("one"))
    await vault.put("a", Secret("two"))
    assert (await vault.get("a")).reveal() == "two"
    await vault.remove("a")
    for ask in (vault.get, vault.remove):
        with pytest.raises(NotFoundError):
            await ask("a")


@pytest.mark.parametrize("name", ["", "a b", "../a", "a\n", "-a", "x" * 101, "ключ"])
async def test_a_name_that_could_mean_something_else_is_refused(opened, name):
    with pytest.raises(InvalidIdError):
        await opened().put(name, Secret(VALUE))


async def test_nothing_and_too_much_are_refused(opened):
    for text in ("", "x" * (SECRET_MAX_BYTES + 1)):
        with pytest.raises(BadInputError):
            await opened().put("a", Secret(text))


async def test_the_database_does_not_hold_the_secret_nor_a_trace_of_equal_ones(opened, database):
    await opened().put("a", Secret(VALUE))
    await opened().put("b", Secret(VALUE))
    held = await everything(database)
    assert VALUE.encode() not in held
    assert VALUE[:12].encode() not in held
    rows = await database.fetch("SELECT sealed FROM vault_secret")
    assert rows[0]["sealed"] != rows[1]["sealed"]


async def test_another_master_key_opens_nothing_and_says_so(opened):
    await opened().put("a", Secret(VALUE))
    with pytest.raises(LedgerError, match="unwrapped") as caught:
        await opened(OTHER).get("a")
    assert "HIVE_MASTER_KEY" in caught.value.fix
    with pytest.raises(LedgerError):
        await opened(OTHER).put("b", Secret(VALUE))
    with pytest.raises(LedgerError):
        await opened(OTHER).rotate()
    assert (await opened().get("a")).reveal() == VALUE
    with pytest.raises(ConfigError):
        opened(b"short")


CHANGES = {
    "one bit": "UPDATE vault_secret SET sealed = set_byte(sealed, 20, get_byte(sealed, 20) # 1) WHERE name = 'a'",
    "its nonce": "UPDATE vault_secret SET sealed = set_byte(sealed, 0, get_byte(sealed, 0) # 1) WHERE name = 'a'",
    "cut": "UPDATE vault_secret SET sealed = substring(sealed from 1 for 20) WHERE name = 'a'",
    "empty": "UPDATE vault_secret SET sealed = '' WHERE name = 'a'",
    "longer": "UPDATE vault_secret SET sealed = sealed || 'x' WHERE name = 'a'",
    "another secret's": "UPDATE vault_secret SET sealed = (SELECT sealed FROM vault_secret WHERE name = 'b') WHERE name = 'a'",
    "the data key, one bit": "UPDATE vault_key SET wrapped = set_byte(wrapped, 20, get_byte(wrapped, 20) # 1)",
    "the data key, cut": "UPDATE vault_key SET wrapped = ''",
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_a_row_that_was_changed_gives_an_error_and_never_another_secret(
    opened, database, change
):
    vault = opened()
    await vault.put("a", Secret(VALUE))
    await vault.put("b", Secret("the-value-of-b"))
    await database.execute(change)
    with pytest.raises(LedgerError) as caught:
        await vault.get("a")
    assert VALUE not in str(caught.value)
    assert "the-value-of-b" not in str(caught.value)


async def test_a_row_that_was_renamed_does_not_open_under_its_new_name(opened, database):
    vault = opened()
    await vault.put("harmless", Secret(VALUE))
    await database.execute("UPDATE vault_secret SET name = 'published' WHERE name = 'harmless'")
    with pytest.raises(LedgerError):
        await vault.get("published")


async def test_rotating_seals_anew_and_what_was_copied_before_opens_no_more(opened, database):
    vault = opened()
    for number in range(5):
        await vault.put(f"s{number}", Secret(f"{VALUE}-{number}"))
    [before] = await database.fetch("SELECT sealed, key_id FROM vault_secret WHERE name = 's1'")
    assert await vault.rotate() == 5
    assert len(await database.fetch("SELECT 1 FROM vault_key")) == 1
    for number in range(5):
        assert (await vault.get(f"s{number}")).reveal() == f"{VALUE}-{number}"
    await database.execute(
        "UPDATE vault_secret SET sealed = $1 WHERE name = 's1'", before["sealed"]
    )
    with pytest.raises(LedgerError):
        await vault.get("s1")


async def test_a_rotation_that_meets_a_changed_row_changes_nothing(opened, database):
    vault = opened()
    await vault.put("a", Secret(VALUE))
    await vault.put("b", Secret("b-value"))
    await database.execute("UPDATE vault_secret SET sealed = sealed || 'x' WHERE name = 'b'")
    with pytest.raises(LedgerError):
        await vault.rotate()
    assert (await vault.get("a")).reveal() == VALUE


async def test_secrets_set_while_the_key_changes_are_not_lost(opened):
    vaults = [opened(), opened()]

    async def put(number):
        await vaults[number % 2].put(f"n{number}", Secret(f"value-{number}"))

    async def read():
        for _ in range(20):
            assert (await vaults[0].get("first")).reveal() == VALUE

    await vaults[0].put("first", Secret(VALUE))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        for number in range(12):
            tasks.start_soon(put, number)
            if number % 3 == 0:
                tasks.start_soon(vaults[1].rotate)
    for number in range(12):
        assert (await vaults[0].get(f"n{number}")).reveal() == f"value-{number}"
