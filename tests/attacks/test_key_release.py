"""Getting the key of an image without being it: replays, other keys, other images, debugged and outdated guests."""

import anyio
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hive.confidential import KeyRelease, References, release_binding
from hive.confidential.references import SnpTcb
from hive.confidential.release import LIFE, open_sealed
from hive.core.errors import AttestationError
from hive.core.randomness import SystemRandomness
from hive.testing.clock import StoppedClock
from tests.attestation_rig import MEASUREMENT, NOW, own_amd, reference

pytestmark = pytest.mark.anyio
KEY = bytes(range(200, 232))
DEBUG = (0x30000 | 1 << 19).to_bytes(8, "little")


class Guest:
    """A guest with a key of its own and the hardware below it."""

    def __init__(self):
        self.private = X25519PrivateKey.generate()
        self.public = self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def evidence(self, nonce, image="payroll", *, public=None, **fields):
        binding = release_binding(nonce, public or self.public, image)
        return own_amd().evidence(at_0x50=binding, **fields)

    def opened(self, sealed, nonce, image="payroll"):
        return open_sealed(self.private, sealed, release_binding(nonce, self.public, image))


class Host:
    """A node that keeps the keys of two images."""

    def __init__(self, **changes):
        self.clock = StoppedClock(NOW)
        self.noted = []
        self.keys = {"payroll": KEY, "other": bytes(32)}
        other = reference(**changes)
        self.references = References((other,))
        self.release = KeyRelease(
            references=lambda: self.references,
            verifier=lambda kind: own_amd().verifier(),
            keys=self._key,
            note=self._note,
            code_key=bytes(32),
            clock=self.clock,
            randomness=SystemRandomness(),
        )

    async def _key(self, image):
        return self.keys.get(image)

    async def _note(self, judged):
        self.noted.append(judged.image)

    async def released(self, nonce, public, evidence, image="payroll"):
        return await self.release.release(image, nonce, public, evidence)

    async def why_refused(self, nonce, public, evidence, image="payroll"):
        with pytest.raises(AttestationError) as refused:
            await self.released(nonce, public, evidence, image)
        assert self.noted == []
        return f"{refused.value.what} {refused.value.why}"


async def test_the_guest_that_proved_itself_opens_its_key_and_it_is_on_record():
    host, guest = Host(), Guest()
    nonce = host.release.challenge("payroll").nonce
    sealed = await host.released(nonce, guest.public, guest.evidence(nonce))
    assert guest.opened(sealed, nonce) == KEY
    assert host.noted == ["payroll"]
    with pytest.raises(AttestationError):
        Guest().opened(sealed, nonce)
    with pytest.raises(AttestationError):
        guest.opened(sealed[:-1], nonce)
    with pytest.raises(AttestationError):
        guest.opened(sealed, nonce, "other")


async def test_the_same_evidence_counts_once():
    host, guest = Host(), Guest()
    nonce = host.release.challenge("payroll").nonce
    evidence = guest.evidence(nonce)
    await host.released(nonce, guest.public, evidence)
    host.noted.clear()
    assert "answered already" in await host.why_refused(nonce, guest.public, evidence)


async def test_two_who_come_at_once_with_one_challenge_get_one_key():
    host, guest = Host(), Guest()
    nonce = host.release.challenge("payroll").nonce
    got = []

    async def come():
        try:
            got.append(await host.released(nonce, guest.public, guest.evidence(nonce)))
        except AttestationError:
            got.append(None)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(come)
        tasks.start_soon(come)
    assert sorted(one is None for one in got) == [False, True]


async def test_a_challenge_nobody_made_or_that_has_ended_counts_nothing():
    host, guest = Host(), Guest()
    for nonce in (bytes(32), b"", bytes(31)):
        evidence = guest.evidence(bytes(32))
        assert "no such challenge" in await host.why_refused(nonce, guest.public, evidence)
    nonce = host.release.challenge("payroll").nonce
    host.clock.advance(LIFE.total_seconds())
    assert "has ended" in await host.why_refused(nonce, guest.public, guest.evidence(nonce))


async def test_a_key_put_in_the_place_of_the_guests_gets_nothing():
    host, guest, thief = Host(), Guest(), Guest()
    nonce = host.release.challenge("payroll").nonce
    told = await host.why_refused(nonce, thief.public, guest.evidence(nonce))
    assert "another challenge" in told


@pytest.mark.parametrize("key", [bytes(32), b"", bytes(31), bytes(33)])
async def test_nothing_is_sealed_to_what_is_no_key(key):
    host, guest = Host(), Guest()
    nonce = host.release.challenge("payroll").nonce
    evidence = own_amd().evidence()
    if len(key) == 32:
        evidence = guest.evidence(nonce, public=key)
    with pytest.raises(AttestationError):
        await host.released(nonce, key, evidence)


async def test_one_image_does_not_get_the_key_of_another():
    host, guest = Host(), Guest()
    nonce = host.release.challenge("other").nonce
    evidence = guest.evidence(nonce, "other")
    assert "No reference" in await host.why_refused(nonce, guest.public, evidence, "other")
    assert "no such challenge" in await host.why_refused(nonce, guest.public, evidence)
    nonce = host.release.challenge("payroll").nonce
    assert "another challenge" in await host.why_refused(
        nonce, guest.public, guest.evidence(nonce, "other")
    )


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"at_0x8": DEBUG}, "debugging"),
        ({"at_0x90": MEASUREMENT[::-1]}, "not the image"),
        ({"at_0x30": b"\x01"}, "privilege level"),
        ({"at_0x1a0": bytes(64)}, "another chip"),
        ({"at_0x186": b"\x07"}, "other firmware"),
    ],
)
async def test_a_guest_that_is_debugged_changed_or_somewhere_else_gets_nothing(fields, told):
    host, guest = Host(), Guest()
    nonce = host.release.challenge("payroll").nonce
    assert told in await host.why_refused(nonce, guest.public, guest.evidence(nonce, **fields))


async def test_a_machine_that_was_not_updated_gets_nothing():
    host, guest = Host(minimum_tcb=SnpTcb(microcode=200)), Guest()
    nonce = host.release.challenge("payroll").nonce
    assert "too old" in await host.why_refused(nonce, guest.public, guest.evidence(nonce))


async def test_a_reference_that_was_taken_away_counts_no_more():
    host, guest = Host(), Guest()
    nonce = host.release.challenge("payroll").nonce
    host.references = References(())
    assert "No reference" in await host.why_refused(nonce, guest.public, guest.evidence(nonce))


async def test_nothing_is_released_that_cannot_be_written_down():
    host, guest = Host(), Guest()

    async def broken(judged):
        raise OSError(28, "no space")

    host.release._note = broken
    nonce = host.release.challenge("payroll").nonce
    with pytest.raises(OSError, match="no space"):
        await host.released(nonce, guest.public, guest.evidence(nonce))


async def test_no_bit_of_a_challenge_can_be_changed_to_make_it_last_longer():
    host, guest = Host(), Guest()
    nonce = host.release.challenge("payroll").nonce
    for at in range(len(nonce)):
        changed = nonce[:at] + bytes([nonce[at] ^ 0x40]) + nonce[at + 1 :]
        evidence = guest.evidence(changed)
        assert "no such challenge" in await host.why_refused(changed, guest.public, evidence)


async def test_what_was_answered_is_forgotten_when_it_has_ended_anyway():
    host, guest = Host(), Guest()
    for _ in range(3):
        nonce = host.release.challenge("payroll").nonce
        await host.released(nonce, guest.public, guest.evidence(nonce))
        host.clock.advance(LIFE.total_seconds() + 1)
    assert len(host.release._answered) == 1


async def test_an_image_without_a_key_is_told():
    host, guest = Host(), Guest()
    host.keys.clear()
    nonce = host.release.challenge("payroll").nonce
    assert "no key" in await host.why_refused(nonce, guest.public, guest.evidence(nonce))
