"""Another master key: what the old one wrapped opens with the new one, and with the old one no more."""

import base64
import sys

import keyring
import keyring.backend
import keyring.errors
import pytest

from hive.core.clock import SystemClock
from hive.core.errors import ConfigError, LedgerError, MissingExtraError
from hive.core.ids import OwnerId
from hive.core.randomness import SystemRandomness
from hive.core.secret import Secret
from hive.engines import load_migrations
from hive.ledger.contents import Contents
from hive.node import rekey
from hive.node.state import StateFolder
from hive.protocols.a2a.push import resealed
from hive.security.vault import Vault
from hive.testing.engines import settings_in

pytestmark = pytest.mark.anyio
OLD, NEW, STRANGE = b"o" * 32, b"n" * 32, b"s" * 32
ALICE = OwnerId("alice")


@pytest.fixture
def migrations():
    return [*load_migrations("hive.ledger"), *load_migrations("hive.security")]


async def sealed(database):
    """Keep one content and one secret under the old key."""
    content = await Contents(database, master_key=OLD).seal(ALICE, b"what alice said")
    await vault_with(database, OLD).put("a", Secret("a-secret-value"))
    return content


def vault_with(database, key):
    return Vault(
        database=database, master_key=key, clock=SystemClock(), randomness=SystemRandomness()
    )


async def test_contents_and_secrets_open_with_the_new_key_alone_and_doing_it_twice_does_no_harm(
    database,
):
    content = await sealed(database)
    for _ in range(2):
        async with database.transaction() as transaction:
            assert await rekey._content_keys(transaction, OLD, NEW) == 1
            assert await rekey._vault_keys(transaction, OLD, NEW) == 1
    opened = await Contents(database, master_key=NEW).unseal([content])
    assert opened == {content.id: b"what alice said"}
    assert (await vault_with(database, NEW).get("a")).reveal() == "a-secret-value"
    with pytest.raises(LedgerError):
        await Contents(database, master_key=OLD).unseal([content])
    with pytest.raises(LedgerError):
        await vault_with(database, OLD).get("a")


async def test_a_wrong_old_key_changes_nothing(database):
    content = await sealed(database)
    for step in (rekey._content_keys, rekey._vault_keys):
        with pytest.raises(LedgerError):
            async with database.transaction() as transaction:
                await step(transaction, STRANGE, NEW)
    assert await Contents(database, master_key=OLD).unseal([content])
    assert (await vault_with(database, OLD).get("a")).reveal() == "a-secret-value"


async def test_what_an_owner_forgot_stays_forgotten(database):
    content = await sealed(database)
    await Contents(database, master_key=OLD).forget(ALICE)
    async with database.transaction() as transaction:
        assert await rekey._content_keys(transaction, OLD, NEW) == 0
    assert await Contents(database, master_key=NEW).unseal([content]) == {content.id: None}


def test_a_push_configuration_that_opens_with_neither_key_is_left():
    assert resealed({"task": "t", "id": "i", "sealed": b"x" * 40}, OLD, NEW) is None


class MemoryKeyring(keyring.backend.KeyringBackend):
    """A keyring for tests."""

    priority = 1

    def __init__(self):
        super().__init__()
        self.kept = {}

    def get_password(self, service, username):
        return self.kept.get((service, username))

    def set_password(self, service, username, password):
        self.kept[service, username] = password

    def delete_password(self, service, username):
        del self.kept[service, username]


@pytest.fixture
def ring():
    before, made = keyring.get_keyring(), MemoryKeyring()
    keyring.set_keyring(made)
    yield made
    keyring.set_keyring(before)


def folder(path, setting):
    settings = settings_in(path, master_key=Secret(setting))
    return StateFolder(settings, SystemClock(), SystemRandomness())


def test_a_key_in_the_keyring_is_made_once_and_is_in_no_file(ring, tmp_path):
    made = folder(tmp_path, "keyring:").master_key
    assert folder(tmp_path, "keyring:").master_key == made
    assert folder(tmp_path, "keyring:another").master_key != made
    assert not (tmp_path / "master.key").exists()
    assert base64.b64decode(ring.kept["hive", "master-key"]) == made
    state = folder(tmp_path, "keyring:")
    assert state.replace_master_key(NEW)
    assert folder(tmp_path, "keyring:").master_key == NEW


def test_a_key_of_a_setting_is_replaced_by_its_operator(tmp_path):
    state = folder(tmp_path, base64.b64encode(OLD).decode())
    assert state.master_key == OLD
    assert not state.replace_master_key(NEW)
    assert not (tmp_path / "master.key").exists()


def test_a_keyring_that_is_missing_or_locked_says_what_to_do(ring, tmp_path, monkeypatch):
    def locked(service, username):
        raise keyring.errors.KeyringLocked

    monkeypatch.setattr(ring, "get_password", locked)
    with pytest.raises(ConfigError, match="Unlock|cannot be used"):
        _ = folder(tmp_path, "keyring:").master_key
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(MissingExtraError) as caught:
        _ = folder(tmp_path, "keyring:").master_key
    assert caught.value.fix == "pip install 'hive-os[keyring]'"


async def test_a_file_that_holds_no_key_is_refused_before_anything_is_opened(tmp_path):
    for text in ("short", "", "!" * 44):
        file = tmp_path / "new.key"
        file.write_text(text)
        with pytest.raises(ConfigError):
            await rekey.change_master_key(settings_in(tmp_path / "state"), file)
    assert not (tmp_path / "state").exists()
