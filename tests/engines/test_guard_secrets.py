"""The values that may never leave: those of the vault as it is now, and the node's own."""

import base64
import json
from datetime import timedelta

import pytest

from hive.core.errors import LedgerError
from hive.core.randomness import SystemRandomness
from hive.core.secret import Secret
from hive.core.settings import Settings
from hive.engines import load_migrations
from hive.node.guard import VALUES_KEPT_S, GuardedValues
from hive.security.guardrails import Leaks, Views
from hive.security.vault import Vault
from hive.testing.clock import StoppedClock

pytestmark = pytest.mark.anyio
MASTER = bytes(range(32))
WHEN = "2026-11-23T05:00:00.123Z"
KEY, OTHER = "sk-live-Zq83mVx0LpT7yRc2WbNe51Ha", "xoxb-77q1-Pm4Lk9Wz2Rt8Vb"


@pytest.fixture
def migrations():
    return load_migrations("hive.security")


@pytest.fixture
def clock():
    return StoppedClock()


@pytest.fixture
def vault(database, clock):
    return Vault(database=database, master_key=MASTER, clock=clock, randomness=SystemRandomness())


@pytest.fixture
def secrets(vault, clock):
    return GuardedValues(
        vault=vault,
        settings=Settings(metrics_token=Secret("metrics-token-1234567")),
        master_key=MASTER,
        operator="operator-token-7654321",
        clock=clock,
    )


async def names(secrets, text):
    leak = Leaks().look("agent", Views.of(text), [await secrets.current()])
    return "" if leak is None else leak.name


async def test_the_nodes_own_are_known_without_a_vault(secrets):
    assert await names(secrets, "operator-token-7654321") == "the operator's token"
    assert await names(secrets, "metrics-token-1234567") == "the metrics token"
    assert await names(secrets, base64.b64encode(MASTER).decode()) == "the master key"
    assert (await names(secrets, MASTER.hex())).startswith("the master key")
    assert await names(secrets, "nothing") == ""


async def test_a_secret_is_known_from_the_moment_it_is_kept(secrets, vault):
    assert await names(secrets, KEY) == ""
    await vault.put("mail", Secret(KEY))
    assert await names(secrets, KEY) == "the secret mail"
    await vault.put("mail", Secret(OTHER))
    assert await names(secrets, f"{KEY} old, {OTHER} new") == "the secret mail"
    await vault.remove("mail")
    assert await names(secrets, OTHER) == ""


async def test_the_tokens_of_a_login_are_known_one_by_one(secrets, vault):
    login = {
        "url": "https://Auth0.example.com/x",
        "access_token": KEY,
        "token_type": "Bearer",
        "at": WHEN,
        "more": [{"refresh_token": OTHER}],
    }
    await vault.put("login", Secret(json.dumps(login)))
    assert (await names(secrets, KEY)).startswith("the secret login")
    assert (await names(secrets, OTHER)).startswith("the secret login")
    assert await names(secrets, f"Bearer access_token {WHEN} https://Auth0.example.com/x") == ""


async def test_a_word_that_somebody_kept_as_a_secret_does_not_stop_every_call(secrets, vault):
    await vault.put("weak", Secret("password"))
    await vault.put("weaker", Secret("12345678"))
    assert await names(secrets, "set the password, ticket 12345678") == ""
    assert await names(secrets, base64.b64encode(b"password").decode()) == "the secret weak"


async def test_looking_for_secrets_is_no_use_of_them(secrets, vault):
    await vault.put("mail", Secret(KEY))
    assert await names(secrets, KEY)
    [kept] = await vault.list()
    assert kept.used_at is None


async def test_what_another_process_kept_is_known_after_a_while(secrets, vault, clock):
    await secrets.current()
    await vault.put("mail", Secret(KEY))
    Vault.revision -= 1  # as if it had been put elsewhere
    assert await names(secrets, KEY) == ""
    clock.advance(VALUES_KEPT_S + 1)
    assert await names(secrets, KEY) == "the secret mail"


async def test_a_vault_that_cannot_be_read_stops_calls_until_it_can(secrets, vault, database):
    await vault.put("mail", Secret(KEY))
    await database.execute("UPDATE vault_secret SET sealed = decode('00', 'hex')")
    with pytest.raises(LedgerError):
        await secrets.current()


async def test_values_that_were_read_hold_while_the_vault_is_away(secrets, vault, database, clock):
    await vault.put("mail", Secret(KEY))
    await secrets.current()
    await database.execute("UPDATE vault_secret SET sealed = decode('00', 'hex')")
    clock.advance(timedelta(seconds=VALUES_KEPT_S + 1).total_seconds())
    assert await names(secrets, KEY) == "the secret mail"
