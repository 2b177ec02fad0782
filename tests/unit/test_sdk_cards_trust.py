"""Whom to trust with a card, and what is remembered of a peer."""

import json
import os
import socket

import anyio
import pytest

from hive_a2a.cards.errors import CardError, CardFault
from hive_a2a.cards.files import only_writer, read_private, write_private
from hive_a2a.cards.jwk import CardAlgorithm, key_set
from hive_a2a.cards.keys import AgentKeys
from hive_a2a.cards.noise_params import NoiseParams, put_noise
from hive_a2a.cards.policies import Jwks, Pinned, Tofu, Unsigned
from hive_a2a.cards.sign import SigningKey, sign_card
from hive_a2a.cards.trust import FileTrust, MemoryTrust, PeerPin
from hive_a2a.cards.verify import TrustedBy, verify_card
from tests.cards_rig import PEER, SetClock, refusal, whole_card

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["memory", "file"])
def store(request, tmp_path):
    return MemoryTrust() if request.param == "memory" else FileTrust(tmp_path / "trust.json")


def without_jwk(signed_by, card=None, jku=None, kid="key-1", algorithm=CardAlgorithm.ES256):
    """Return a card as a foreign SDK signs it: no key in the header, no terms."""
    from a2a.utils.signing import create_agent_card_signer

    signer = create_agent_card_signer(
        signed_by.pem(), {"kid": kid, "alg": str(algorithm), "jku": jku, "typ": "JOSE"}
    )
    return signer(whole_card() if card is None else card)


async def test_the_first_key_of_a_peer_is_remembered_and_others_are_refused(store):
    key, clock = SigningKey.make(), SetClock()
    signed = sign_card(whole_card(), key)
    first = await verify_card(signed, Tofu(store), peer=PEER, clock=clock)
    assert first.trusted_by is TrustedBy.FIRST_SEEN
    assert not first.known_before
    clock.later(60)
    again = await verify_card(signed, Tofu(store), peer=PEER, clock=clock)
    assert again.trusted_by is TrustedBy.SEEN_BEFORE
    assert again.known_before
    assert again.first_seen == "2026-01-02T03:04:05+00:00"
    with pytest.raises(CardError) as refused:
        await verify_card(sign_card(whole_card(), SigningKey.make()), Tofu(store), peer=PEER)
    assert refusal(refused) is CardFault.KEY_CHANGED
    pin = await store.get(PEER)
    assert pin.thumbprints == {key.public.thumbprint}
    assert await store.forget(PEER)
    assert not await store.forget(PEER)
    assert await store.get(PEER) is None


async def test_a_new_key_is_followed_over_a_card_of_both_and_the_old_one_retires(store):
    keys = AgentKeys.ephemeral()
    trust = Tofu(store)
    await verify_card(keys.sign(whole_card()), trust, peer=PEER)
    rotated = keys.rotate()
    verdict = await verify_card(rotated.sign(whole_card()), trust, peer=PEER)
    assert verdict.trusted_by is TrustedBy.ROTATED
    assert (await store.get(PEER)).thumbprints == {key.thumbprint for key in rotated.public}
    alone = rotated.retire()
    verdict = await verify_card(alone.sign(whole_card()), trust, peer=PEER)
    assert verdict.trusted_by is TrustedBy.SEEN_BEFORE
    assert (await store.get(PEER)).thumbprints == {alone.public[0].thumbprint}
    with pytest.raises(CardError) as refused:
        await verify_card(keys.sign(whole_card()), trust, peer=PEER)
    assert refusal(refused) is CardFault.KEY_CHANGED


async def test_a_card_of_an_older_epoch_is_refused(store):
    key = SigningKey.make()
    await verify_card(sign_card(whole_card(), key, epoch=3), Tofu(store), peer=PEER)
    await verify_card(sign_card(whole_card(), key, epoch=3), Tofu(store), peer=PEER)
    with pytest.raises(CardError) as refused:
        await verify_card(sign_card(whole_card(), key, epoch=2), Tofu(store), peer=PEER)
    assert refusal(refused) is CardFault.OLDER


def noisy(*, required=False, key=b"k" * 32, epoch=1):
    card = whole_card()
    put_noise(card, NoiseParams(static_key=key, epoch=epoch, required=required))
    return card


@pytest.mark.parametrize("trust", ["tofu", "pinned", "unsigned"])
async def test_noise_cannot_be_taken_out_of_a_card_again(store, trust):
    key = SigningKey.make()
    sign = (lambda card: card) if trust == "unsigned" else (lambda card: sign_card(card, key))
    policy = {
        "tofu": Tofu(store),
        "pinned": Pinned([key.public], store),
        "unsigned": Unsigned(Tofu(store)),
    }[trust]
    await verify_card(sign(whole_card()), policy, peer=PEER)
    await verify_card(sign(noisy()), policy, peer=PEER)
    await verify_card(sign(noisy(required=True)), policy, peer=PEER)
    pin = await store.get(PEER)
    assert pin.noise_required
    assert pin.noise_key == (b"k" * 32).hex()
    # The same epoch, or it would be refused for that.
    for weaker in (whole_card(), noisy()):
        if trust == "unsigned" and weaker == whole_card():
            continue
        signed = sign_card(weaker, key, epoch=1) if trust != "unsigned" else weaker
        with pytest.raises(CardError) as refused:
            await verify_card(signed, policy, peer=PEER)
        assert refusal(refused) is CardFault.NOISE_STRIPPED


async def test_the_noise_key_of_an_unsigned_card_cannot_change(store):
    trust = Unsigned(Tofu(store))
    await verify_card(noisy(), trust, peer=PEER)
    with pytest.raises(CardError) as refused:
        await verify_card(noisy(key=b"x" * 32), trust, peer=PEER)
    assert refusal(refused) is CardFault.KEY_CHANGED


async def test_an_unsigned_card_is_taken_only_by_that_word():
    for trust in (Tofu(), Pinned([SigningKey.make().public]), Jwks([], None)):
        with pytest.raises(CardError) as refused:
            await verify_card(whole_card(), trust, peer=PEER)
        assert refusal(refused) is CardFault.UNSIGNED
    verdict = await verify_card(whole_card(), Unsigned(), peer=PEER)
    assert verdict.trusted_by is TrustedBy.UNSIGNED
    assert not verdict.signed
    assert not verdict.known_before


async def test_unsigned_judges_signed_cards_where_it_can_and_forgets_no_signature(store):
    key = SigningKey.make()
    trust = Unsigned(Tofu(store))
    assert not (await verify_card(whole_card(), trust, peer=PEER)).signed
    signed = sign_card(whole_card(), key)
    assert (await verify_card(signed, trust, peer=PEER)).trusted_by is TrustedBy.FIRST_SEEN
    with pytest.raises(CardError) as refused:
        await verify_card(whole_card(), trust, peer=PEER)
    assert refusal(refused) is CardFault.STRIPPED
    # Without anybody to judge it a signature says nothing, and is not claimed to.
    assert not (await verify_card(signed, Unsigned())).signed


async def test_a_plain_word_for_unsigned_does_not_outweigh_what_is_remembered(store):
    class Careless:
        def __init__(self):
            self.store = store

        async def gather(self, signed):
            return ()

        def judge(self, signed, found, pin):
            return Unsigned().judge(signed, found, pin)

    await verify_card(sign_card(whole_card(), SigningKey.make()), Tofu(store), peer=PEER)
    with pytest.raises(CardError) as refused:
        await verify_card(whole_card(), Careless(), peer=PEER)
    assert refusal(refused) is CardFault.STRIPPED


async def test_a_second_card_holds_to_the_first_and_is_not_remembered(store):
    key = SigningKey.make()
    trust = Tofu(store)
    extended = sign_card(whole_card(version="2"), key)
    with pytest.raises(CardError) as refused:
        await verify_card(extended, trust, peer=PEER, extended=True)
    assert refusal(refused) is CardFault.UNKNOWN_KEY
    await verify_card(sign_card(noisy(), key), trust, peer=PEER)
    pin = await store.get(PEER)
    with pytest.raises(CardError) as refused:
        await verify_card(sign_card(whole_card(), key, epoch=1), trust, peer=PEER, extended=True)
    assert refusal(refused) is CardFault.NOISE_STRIPPED
    verdict = await verify_card(sign_card(noisy(), key), trust, peer=PEER, extended=True)
    assert verdict.trusted_by is TrustedBy.SEEN_BEFORE
    assert await store.get(PEER) == pin


async def test_a_key_nobody_gave_us_is_unknown():
    signed = sign_card(whole_card(), SigningKey.make())
    with pytest.raises(CardError) as refused:
        await verify_card(signed, Pinned([SigningKey.make().public]))
    assert refusal(refused) is CardFault.UNKNOWN_KEY
    with pytest.raises(CardError) as refused:
        await verify_card(without_jwk(SigningKey.make(CardAlgorithm.ES256)), Tofu(), peer=PEER)
    assert refusal(refused) is CardFault.UNKNOWN_KEY


async def test_a_given_key_is_found_by_itself_where_its_name_differs():
    key = SigningKey.make(kid="by-the-owner")
    ours = SigningKey.of(key.private).public
    assert ours.kid != "by-the-owner"
    assert (await verify_card(sign_card(whole_card(), key), Pinned([ours]))).kid == "by-the-owner"


def keys_at(pages):
    asked = []

    async def fetch(url):
        asked.append(url)
        return json.dumps(key_set(tuple(pages[url]))).encode()

    return fetch, asked


OWN = "https://agent.example/.well-known/jwks.json"


@pytest.mark.parametrize("jku", [None, "https://agent.example/keys/a.json"])
async def test_a_foreign_key_is_fetched_from_the_peers_own_origin(store, jku):
    key = SigningKey.make(CardAlgorithm.ES256, kid="key-1")
    fetch, asked = keys_at({jku or OWN: [key.public]})
    trust = Tofu(store, fetch)
    signed = without_jwk(key, jku=jku)
    assert (await verify_card(signed, trust, peer=PEER)).trusted_by is TrustedBy.FIRST_SEEN
    assert asked == [jku or OWN]
    verdict = await verify_card(signed, trust, peer=PEER)
    assert verdict.trusted_by is TrustedBy.SEEN_BEFORE
    # Empty members are not covered by that signature, and the verdict says so.
    assert not verdict.exact


async def test_a_key_elsewhere_is_fetched_only_from_an_allowed_address(store):
    key = SigningKey.make(CardAlgorithm.ES256, kid="key-1")
    jku = "https://keys.example/agents/a.json"
    fetch, asked = keys_at({jku: [key.public]})
    with pytest.raises(CardError) as refused:
        await verify_card(without_jwk(key, jku=jku), Tofu(store, fetch), peer=PEER)
    assert refusal(refused) is CardFault.FOREIGN_KEY_SET
    assert asked == []
    trust = Tofu(store, fetch, ["https://keys.example/agents/"])
    assert (await verify_card(without_jwk(key, jku=jku), trust, peer=PEER)).signed


async def test_a_peer_without_an_address_has_no_keys_to_fetch(store):
    fetch, asked = keys_at({})
    with pytest.raises(CardError):
        await verify_card(without_jwk(SigningKey.make(CardAlgorithm.ES256)), Tofu(store, fetch))
    assert asked == []


async def test_key_sets_that_were_given_are_kept_and_asked_again_for_new_keys():
    clock = SetClock()
    old, new = (SigningKey.make(CardAlgorithm.ES256, kid=kid) for kid in ("old", "new"))
    pages = {OWN: [old.public]}
    fetch, asked = keys_at(pages)
    trust = Jwks([OWN, "https://keys.example/all/"], fetch, clock=clock, kept_s=100)
    for _ in range(2):
        verdict = await verify_card(without_jwk(old, kid="old"), trust)
        assert verdict.trusted_by is TrustedBy.KEY_SET
    assert asked == [OWN]
    pages[OWN] = [old.public, new.public]
    with pytest.raises(CardError) as refused:
        await verify_card(without_jwk(new, kid="new"), trust)
    assert refusal(refused) is CardFault.UNKNOWN_KEY
    assert asked == [OWN]
    clock.later(11)
    assert (await verify_card(without_jwk(new, kid="new"), trust)).kid == "new"
    clock.later(50)
    assert (await verify_card(without_jwk(old, kid="old"), trust)).kid == "old"
    assert len(asked) == 2
    clock.later(51)
    await verify_card(without_jwk(old, kid="old"), trust)
    assert len(asked) == 3


async def test_a_jku_picks_among_given_addresses_only():
    key = SigningKey.make(CardAlgorithm.ES256, kid="key-1")
    good = "https://keys.example/all/a.json"
    fetch, asked = keys_at({good: [key.public]})
    trust = Jwks(["https://keys.example/all/"], fetch)
    assert (await verify_card(without_jwk(key, jku=good), trust)).signed
    with pytest.raises(CardError) as refused:
        await verify_card(without_jwk(key, jku="https://keys.example/other.json"), trust)
    assert refusal(refused) is CardFault.FOREIGN_KEY_SET
    # Without a jku a prefix says nothing about where to look.
    with pytest.raises(CardError) as refused:
        await verify_card(without_jwk(key), trust)
    assert refusal(refused) is CardFault.UNKNOWN_KEY
    assert asked == [good]


async def test_the_number_of_kept_key_sets_is_bounded():
    key = SigningKey.make(CardAlgorithm.ES256, kid="key-1")
    pages = {f"https://keys.example/{number}": [key.public] for number in range(66)}
    fetch, asked = keys_at(pages)
    trust = Jwks(["https://keys.example/"], fetch, clock=SetClock())
    for jku in pages:
        await verify_card(without_jwk(key, jku=jku), trust)
    await verify_card(without_jwk(key, jku="https://keys.example/65"), trust)
    assert len(asked) == 66
    await verify_card(without_jwk(key, jku="https://keys.example/0"), trust)
    assert len(asked) == 67


async def test_signatures_of_unknown_kinds_lead_to_no_key_set():
    signed = without_jwk(SigningKey.make(CardAlgorithm.ES256))
    signed.signatures[0].protected = "eyJhbGciOiJSUzI1NiIsImtpZCI6ImEifQ"
    fetch, asked = keys_at({})
    with pytest.raises(CardError) as refused:
        await verify_card(signed, Jwks([OWN], fetch))
    assert refusal(refused) is CardFault.ALGORITHM
    assert asked == []


@pytest.mark.parametrize("url", ["http://keys.example/a", "https://a@keys.example/", "file:///a"])
def test_a_key_set_is_given_by_https_only(url):
    with pytest.raises(CardError) as refused:
        Jwks([url], None)
    assert refusal(refused) is CardFault.FOREIGN_KEY_SET


async def test_a_check_of_the_caller_comes_before_a_peer_is_remembered(store):
    def check(verdict):
        raise CardError(CardFault.ELSEWHERE, "No.", why="No.")

    with pytest.raises(CardError):
        await verify_card(
            sign_card(whole_card(), SigningKey.make()), Tofu(store), peer=PEER, check=check
        )
    assert await store.get(PEER) is None


def pin(name="a"):
    return PeerPin(name=name, keys=(), first_seen="", card_sha256="")


async def test_a_full_store_refuses_instead_of_forgetting(tmp_path):
    for store in (MemoryTrust(peers_max=1), FileTrust(tmp_path / "trust.json", peers_max=1)):
        await store.settle("one", lambda _: pin())
        await store.settle("one", lambda _: pin("b"))
        with pytest.raises(CardError) as refused:
            await store.settle("two", lambda _: pin())
        assert refusal(refused) is CardFault.STORE
        assert (await store.get("one")).name == "b"


async def test_a_trust_file_is_shared_and_private(tmp_path):
    path = tmp_path / "new" / "trust.json"
    key = SigningKey.make(CardAlgorithm.ES256)
    await verify_card(sign_card(noisy(), key), Tofu(FileTrust(path)), peer=PEER)
    again = await FileTrust(path).get(PEER)
    assert again.keys == (key.public,)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    before = path.stat().st_ino
    await verify_card(sign_card(noisy(), key), Tofu(FileTrust(path)), peer=PEER)
    assert path.stat().st_ino == before, "it was written without need"


async def test_two_first_meetings_at_once_remember_one_key(tmp_path):
    path = tmp_path / "trust.json"
    outcomes = []

    async def meet():
        try:
            signed = sign_card(whole_card(), SigningKey.make())
            await verify_card(signed, Tofu(FileTrust(path)), peer=PEER)
            outcomes.append("taken")
        except CardError as error:
            outcomes.append(error.fault)

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(meet)
    assert sorted(outcomes) == ["key-changed"] * 4 + ["taken"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o622, 0o666])
def test_a_file_that_others_may_use_is_not_used(tmp_path, mode):
    path = tmp_path / "file"
    write_private(path, b"x")
    assert read_private(path) == b"x"
    path.chmod(mode)
    with pytest.raises(CardError) as refused:
        read_private(path)
    assert refusal(refused) is CardFault.STORE
    assert f"{mode:04o}" in refused.value.why


def test_a_file_that_is_none_is_not_used(tmp_path, monkeypatch):
    real, link, pipe, folder = (tmp_path / name for name in ("real", "link", "pipe", "folder"))
    assert read_private(real) is None
    write_private(real, b"x")
    link.symlink_to(real)
    os.mkfifo(pipe, 0o600)
    folder.mkdir(mode=0o700)
    served = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(served))
        for path in (link, pipe, folder, served):
            with pytest.raises(CardError) as refused:
                read_private(path)
            assert refusal(refused) is CardFault.STORE
    monkeypatch.setattr("hive_a2a.cards.files.SIZE_BYTES_MAX", 0)
    with pytest.raises(CardError):
        read_private(real)
    monkeypatch.setattr("hive_a2a.cards.files.SIZE_BYTES_MAX", 10)
    monkeypatch.setattr("os.geteuid", lambda: os.getuid() + 1)
    with pytest.raises(CardError) as refused:
        read_private(real)
    assert "somebody else" in refused.value.why


def test_a_file_that_cannot_be_written_leaves_the_old_one_and_no_rest(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_private(path, b"old")

    def no_room(number):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", no_room)
        with pytest.raises(CardError) as refused:
            write_private(path, b"new")
    assert "No space" in refused.value.why
    assert read_private(path) == b"old"
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_what_a_killed_writer_left_is_swept_and_the_lock_stays(tmp_path):
    path = tmp_path / "file"
    left = tmp_path / ".file.0123456789abcdef"
    left.write_bytes(b"half")
    with only_writer(path):
        assert not left.exists()
        assert (tmp_path / ".file.lock").exists()


def test_a_lock_that_is_kept_or_cannot_be_opened_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("hive_a2a.cards.files.LOCK_TRIES_MAX", 2)
    path = tmp_path / "file"
    with only_writer(path), pytest.raises(CardError) as refused, only_writer(path):
        pytest.fail("there were two writers")
    assert "lock" in refused.value.why
    (tmp_path / ".other.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CardError), only_writer(tmp_path / "other"):
        pytest.fail("a link was followed")
    assert not (tmp_path / "elsewhere").exists()
