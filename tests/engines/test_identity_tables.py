"""The authority and the deny list on a real database: restart, rotation, another node's word, another master key."""

import anyio
import pytest
from tests.workload_rig import DOMAIN, Events

from hive.core.clock import SystemClock
from hive.core.errors import IdentityError
from hive.core.ids import AgentId, SandboxId
from hive.core.randomness import SystemRandomness
from hive.engines import load_migrations
from hive.node import rekey
from hive.security.identity import DenyList, IdentityService, IssueQuota, MasterSealed
from hive.security.identity.drivers import IDENTITIES
from hive.security.identity.ports import IssuerOpening

pytestmark = pytest.mark.anyio
OLD, NEW = bytes(32), bytes(range(32))


@pytest.fixture
def migrations():
    return load_migrations("hive.security")


def opening(database, master=OLD):
    return IssuerOpening(
        url="local-ca:",
        trust_domain=DOMAIN,
        database=database,
        sealed=MasterSealed(master),
        clock=SystemClock(),
        randomness=SystemRandomness(),
    )


def opened(database, master=OLD):
    return IDENTITIES.load("local-ca:").open(opening(database, master))


def service_on(issuer, database):
    clock = SystemClock()
    return IdentityService(
        issuer=issuer,
        denied=DenyList(database=database, clock=clock),
        quota=IssueQuota(clock),
        clock=clock,
        randomness=SystemRandomness(),
        emit=Events(),
    )


async def test_an_authority_rotates_restarts_and_changes_its_master_key(database):
    async with opened(database) as issuer:
        await issuer.rotate(root=True)
        await issuer.rotate()
        before = await issuer.bundle()
        await issuer.forget_root_key()
    async with opened(database) as issuer:
        assert (await issuer.bundle()).roots == before.roots
        assert not issuer.has_root_key
    for _ in range(2):
        async with database.transaction() as transaction:
            await rekey._identity_keys(transaction, OLD, NEW)
    async with opened(database, NEW) as issuer:
        assert (await issuer.bundle()).jwks == before.jwks
    with pytest.raises(IdentityError, match="master key"):
        async with opened(database):
            pass


async def test_what_one_node_denies_another_hears_within_a_second(database):
    async with opened(database) as issuer, anyio.create_task_group() as tasks:
        here, there = service_on(issuer, database), service_on(issuer, database)
        heard = anyio.Event()
        there.denied.on_denied(lambda _: heard.set())
        await here.revoke(f"spiffe://{DOMAIN}/agent/other")
        tasks.start_soon(there.denied.watch)
        with anyio.fail_after(20):
            await heard.wait()  # what is known already is read once it listens
        heard = anyio.Event()
        enrolment = there.enrol(SandboxId("s"), AgentId("reader"))
        await there.x509(enrolment)
        began = SystemClock().monotonic()
        await here.revoke(enrolment.spiffe_id.text, reason="quarantine")
        with anyio.fail_after(20):
            await heard.wait()
        assert SystemClock().monotonic() - began < 1.0, "a promise of the product"
        with pytest.raises(IdentityError, match="No identity"):
            await there.x509(enrolment)
        await here.allow(enrolment.spiffe_id.text)
        with anyio.fail_after(20):
            while len(there.denied.all()) > 1:  # noqa: ASYNC110 - a lifted denial tells nobody
                await anyio.sleep(0.01)
        await there.x509(enrolment)
        tasks.cancel_scope.cancel()
