"""The trust file attacked: killed writers, half-written and foreign files, a key swapped after the first meeting."""

import json
import signal
import subprocess
import sys

import pytest

from hive_a2a.cards.errors import CardError, CardFault
from hive_a2a.cards.policies import Tofu
from hive_a2a.cards.sign import SigningKey, sign_card
from hive_a2a.cards.trust import FileTrust, MemoryTrust, PeerPin
from hive_a2a.cards.verify import verify_card
from tests.cards_rig import PEER, refusal, whole_card

pytestmark = pytest.mark.anyio
KEY = SigningKey.make()


async def met(path):
    await verify_card(sign_card(whole_card(), KEY), Tofu(FileTrust(path)), peer=PEER)


async def test_a_key_swapped_after_the_first_meeting_is_refused_over_restarts(tmp_path):
    path = tmp_path / "trust.json"
    await met(path)
    swapped = sign_card(whole_card(), SigningKey.make())
    # The attack: without what is remembered, the new key is as good as the old one.
    await verify_card(swapped, Tofu(MemoryTrust()), peer=PEER)
    with pytest.raises(CardError) as refused:
        await verify_card(swapped, Tofu(FileTrust(path)), peer=PEER)
    assert refusal(refused) is CardFault.KEY_CHANGED


def cut(data):
    return data[: len(data) // 2]


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        cut,
        lambda data: data + data,
        lambda data: b"\0" * len(data),
        lambda _: b"{}",
        lambda _: b"[]",
        lambda _: b"[" * 100_000,
        lambda data: data.replace(b'"version": 1', b'"version": 2'),
        lambda data: data.replace(b'"EdDSA"', b'"none"'),
        lambda data: data.replace(b'"name"', b'"nickname"'),
    ],
)
async def test_a_half_written_trust_file_is_never_taken_for_an_empty_one(tmp_path, damage):
    path = tmp_path / "trust.json"
    await met(path)
    before = path.read_bytes()
    after = damage(before)
    assert after != before
    path.write_bytes(after)
    swapped = sign_card(whole_card(), SigningKey.make())
    for card in (swapped, sign_card(whole_card(), KEY)):
        with pytest.raises(CardError) as refused:
            await verify_card(card, Tofu(FileTrust(path)), peer=PEER)
        assert refusal(refused) is CardFault.STORE
    with pytest.raises(CardError):
        await FileTrust(path).forget(PEER)
    assert path.read_bytes() == after, "a damaged file was written over"


async def test_a_trust_file_that_others_may_write_is_not_believed(tmp_path):
    path = tmp_path / "trust.json"
    await met(path)
    path.chmod(0o666)
    with pytest.raises(CardError) as refused:
        await met(path)
    assert refusal(refused) is CardFault.STORE


async def test_a_link_in_the_place_of_the_trust_file_is_not_followed(tmp_path):
    elsewhere = tmp_path / "elsewhere.json"
    elsewhere.write_text('{"version": 1, "peers": {}}')
    elsewhere.chmod(0o600)
    path = tmp_path / "trust.json"
    path.symlink_to(elsewhere)
    with pytest.raises(CardError) as refused:
        await met(path)
    assert refusal(refused) is CardFault.STORE
    assert json.loads(elsewhere.read_text())["peers"] == {}


WRITER = """
import sys, anyio
from hive_a2a.cards.trust import FileTrust, PeerPin

async def write():
    store = FileTrust(sys.argv[1])
    number = 0
    while True:
        number += 1
        pin = PeerPin(name="x" * 20_000, keys=(), first_seen=str(number), card_sha256="")
        await store.settle("peer", lambda known: pin)
        print(number, flush=True)

anyio.run(write)
"""


async def test_a_writer_killed_at_any_moment_leaves_a_whole_file(tmp_path):
    path = tmp_path / "trust.json"
    said = 0
    for kills in range(4):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE
        ) as writer:
            for _ in range(3 + kills):
                said = int(writer.stdout.readline())
            writer.send_signal(signal.SIGKILL)
            said = max([said, *(int(line) for line in writer.stdout.read().split())])
        pin = await FileTrust(path).get("peer")
        assert int(pin.first_seen) >= said, "what was said to be on disk was not"
        assert len(pin.name) == 20_000
    # The lock went with the killed writers, and so does what they left.
    await FileTrust(path).settle(
        "other", lambda _: PeerPin(name="o", keys=(), first_seen="", card_sha256="")
    )
    assert sorted(one.name for one in tmp_path.iterdir()) == [".trust.json.lock", "trust.json"]


async def test_a_card_that_is_refused_leaves_no_trace(tmp_path):
    """Else the first spoofed card would be the pin that locks the genuine one out."""
    path = tmp_path / "trust.json"
    altered = sign_card(whole_card(), SigningKey.make())
    altered.name = "other"
    with pytest.raises(CardError):
        await verify_card(altered, Tofu(FileTrust(path)), peer=PEER)
    await met(path)
