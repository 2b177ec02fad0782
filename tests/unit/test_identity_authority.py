"""The node's own authority: generations, a root that is taken away, keys at rest, quota and what is denied."""

import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from hive.core.clock import SystemClock
from hive.core.errors import ConfigError, IdentityError, InvalidIdError, NotFoundError
from hive.core.ids import AgentId, SandboxId
from hive.security.identity import (
    Denial,
    DeniedKind,
    DenyList,
    IssueLimit,
    IssueQuota,
    MasterSealed,
    SpiffeId,
)
from hive.security.identity.certificates import verified_leaf
from hive.security.identity.ports import SvidOrder
from hive.security.identity.sealed_keys import resealed_key
from tests.workload_rig import DOMAIN, MovedClock, Tables, opened_issuer, opened_service

pytestmark = pytest.mark.anyio
READER = SpiffeId(f"spiffe://{DOMAIN}/agent/reader")
ORDER = SvidOrder(subject=READER, ttl_s=3600.0, session="s")


def plain(pem: bytes, passphrase: bytes) -> bytes:
    key = load_pem_private_key(pem, passphrase)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize(
    "text",
    [
        "spiffe://a.example",
        "spiffe://a.example/x",
        "spiffe://a_b.1-c/X/y.z/_-.9",
        f"spiffe://{'a' * 255}/x",
    ],
)
def test_an_id_in_its_canonical_form_is_one(text):
    assert str(SpiffeId(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "", "spiffe://", "spiffe:///x", "http://a/x", "spiffe://A.example/x", "spiffe://a/x/",
        "spiffe://a//x", "spiffe://a/./x", "spiffe://a/../x", "spiffe://a:1/x", "spiffe://u@a/x",
        "spiffe://a/x?y", "spiffe://a/x#y", "spiffe://a/%41", "spiffe://a/ö", "spiffe://a/x y",
        f"spiffe://{'a' * 256}/x", f"spiffe://a/{'x' * 2048}", "SPIFFE://a/x", "spiffe://a/x\n",
    ],
)  # fmt: skip
def test_anything_else_is_none(text):
    with pytest.raises(InvalidIdError):
        SpiffeId(text)


async def test_an_authority_is_the_same_after_a_restart_and_its_keys_lie_sealed():
    tables = Tables()
    async with opened_issuer(tables) as first:
        before = await first.bundle()
        svid = await first.x509(ORDER)
    async with opened_issuer(tables) as again:
        after = await again.bundle()
        assert (after.roots, after.jwks) == (before.roots, before.jwks)
    key = plain(_root_pem(first), b"x")
    for row in tables.authorities:
        assert key not in row["sealed_key"]
        assert b"PRIVATE" not in row["sealed_key"]
    verified_leaf(svid.chain, after.roots, now=SystemClock().now())
    with pytest.raises(IdentityError, match="master key"):
        async with opened_issuer(tables, master=bytes(32)):
            pass


def _root_pem(issuer) -> bytes:
    return issuer.root_key_pem("x")


async def test_each_rotation_keeps_one_generation_before_it():
    tables = Tables()
    now = SystemClock().now()
    async with opened_issuer(tables) as issuer:
        chains = [(await issuer.x509(ORDER)).chain]
        for _ in range(2):
            await issuer.rotate(root=True)
            chains.append((await issuer.x509(ORDER)).chain)
        roots = (await issuer.bundle()).roots
        assert len(roots) == 2
        for chain in chains[1:]:
            verified_leaf(chain, roots, now=now)
        with pytest.raises(IdentityError):
            verified_leaf(chains[0], roots, now=now)
        # A verifier with the bundle of one generation ago believes the newest: the root before vouches.
        verified_leaf(chains[2], roots[1:], now=now)
        with pytest.raises(IdentityError):
            verified_leaf(chains[2][:-1], roots[1:], now=now)
        kinds = [row["kind"] for row in tables.authorities]
        assert sorted(kinds) == ["intermediate"] * 2 + ["root"] * 2 + ["tokens"] * 2


async def test_a_root_that_was_taken_away_is_brought_back_for_a_rotation():
    tables = Tables()
    async with opened_issuer(tables) as issuer, opened_issuer(Tables()) as other:
        with pytest.raises(IdentityError, match="encrypted or not at all"):
            issuer.root_key_pem("")
        kept = issuer.root_key_pem("correct horse")
        await issuer.forget_root_key()
        assert not issuer.has_root_key
        assert all(row["sealed_key"] is None for row in tables.authorities if row["kind"] == "root")
        await issuer.x509(ORDER)
        for asked in (issuer.rotate(), issuer.rotate(root=True)):
            with pytest.raises(IdentityError, match="not on this node"):
                await asked
        foreign = plain(other.root_key_pem("x"), b"x")
        for wrong in (foreign, b"nonsense", kept):
            with pytest.raises(IdentityError, match="key"):
                await issuer.rotate(root_key=wrong)
        done = await issuer.rotate(root_key=plain(kept, b"correct horse"))
        assert (done.what, issuer.has_root_key) == ("intermediate", False)
        assert not await issuer.tend()


async def test_an_intermediate_is_rotated_at_half_of_its_life():
    clock = MovedClock()
    async with opened_issuer(Tables(), clock=clock) as issuer:
        before = (await issuer.x509(ORDER)).chain[1]
        assert not await issuer.tend()
        clock.moved_s = 16 * 86400.0
        assert await issuer.tend()
        assert (await issuer.x509(ORDER)).chain[1] != before
        assert not await issuer.tend()


async def test_an_svid_never_outlives_the_authority_above_it():
    async with opened_issuer(Tables()) as issuer:
        long = SvidOrder(subject=READER, ttl_s=400 * 86400.0)
        svid = await issuer.x509(long)
        assert svid.ends_at <= issuer._mint.signer.certificate.not_valid_after_utc


async def test_another_trust_domain_begins_anew():
    tables = Tables()
    async with opened_issuer(tables) as issuer:
        old = await issuer.bundle()
    async with opened_issuer(tables, domain="other.example") as issuer:
        fresh = await issuer.bundle()
        assert fresh.trust_domain == "other.example"
        assert not set(fresh.roots) & set(old.roots)


async def test_a_url_with_something_more_is_refused():
    with pytest.raises(ConfigError):
        async with opened_issuer(Tables(), url="local-ca:/somewhere"):
            pass


def test_another_master_key_takes_over_and_twice_is_once():
    old, new = bytes(32), bytes(range(32))
    sealed = MasterSealed(old).seal("root.1", b"secret")
    moved = resealed_key("root.1", sealed, old, new)
    assert MasterSealed(new).open("root.1", moved) == b"secret"
    assert resealed_key("root.1", moved, old, new) == moved
    for name, data in (("root.2", moved), ("root.1", moved[:-1]), ("root.1", b"")):
        with pytest.raises(IdentityError):
            MasterSealed(new).open(name, data)


def test_a_quota_comes_back_with_time_and_is_each_sandboxs_own():
    clock = MovedClock()
    quota = IssueQuota(clock, sandbox=IssueLimit(2, 1.0), node=IssueLimit(3, 1.0))
    assert [quota.take("a") for _ in range(3)] == [True, True, False]
    assert [quota.take("b") for _ in range(2)] == [True, False]
    clock.moved_s = 1.5
    assert quota.take("b")
    assert not quota.take("a"), "the node's own limit"


async def test_what_is_denied_is_bounded_kept_and_lifted():
    clock = SystemClock()
    tables = Tables()
    denied = DenyList(database=tables, clock=clock)
    heard = []
    forget = denied.on_denied(heard.extend)
    now = clock.now()
    one = Denial(kind=DeniedKind.ID, value=READER.text, at=now, ends_at=now.replace(year=2999))
    await denied.keep(one)
    assert heard == [one]
    other = DenyList(database=tables, clock=clock)
    assert other.find((DeniedKind.ID, READER.text)) is None
    await other.load()
    assert other.find((DeniedKind.ID, READER.text)) == one
    await denied.lift(DeniedKind.ID, READER.text)
    await other.load()
    assert not other.all()
    with pytest.raises(NotFoundError):
        await denied.lift(DeniedKind.ID, READER.text)
    forget()


async def test_the_service_lists_what_it_issued_and_says_what_counts_no_more():
    async with opened_service() as service:
        first = service.enrol(SandboxId("a"), AgentId("reader"))
        second = service.enrol(SandboxId("b"), AgentId("writer"))
        await service.x509(first)
        await service.x509(second)
        service.leave(first)
        told = {line.spiffe_id.rpartition("/")[2]: line.denied for line in service.issued()}
        assert told == {"reader": True, "writer": False}
        for unknown in ("nothing", "spiffe://other.example/agent/x", f"spiffe://{DOMAIN}"):
            with pytest.raises(NotFoundError):
                await service.revoke(unknown)
