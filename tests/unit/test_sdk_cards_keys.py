"""An agent's keys: made once, kept to itself, changed without losing those who know it."""

import json
import subprocess
import sys

import pytest

from hive_a2a.cards.errors import CardError, CardFault
from hive_a2a.cards.jwk import CardAlgorithm, read_key_set
from hive_a2a.cards.keys import FILE_NAME, AgentKeys
from hive_a2a.cards.policies import Pinned
from hive_a2a.cards.verify import verify_card
from tests.cards_rig import refusal, whole_card

pytestmark = pytest.mark.anyio
BOTH = (CardAlgorithm.EDDSA, CardAlgorithm.ES256)


def test_keys_are_made_once_and_found_again(tmp_path):
    folder = tmp_path / "keys"
    made = AgentKeys.load_or_make(folder, BOTH)
    found = AgentKeys.load_or_make(folder)
    assert found.public == made.public
    assert found.noise == made.noise
    assert found.epoch == made.epoch == 1
    assert (folder / FILE_NAME).stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


def test_two_processes_that_make_keys_at_once_get_the_same_ones(tmp_path):
    program = (
        "import sys; from hive_a2a.cards.keys import AgentKeys; "
        "print(AgentKeys.load_or_make(sys.argv[1]).public[0].kid)"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path / "keys")], stdout=subprocess.PIPE
        )
        for _ in range(2)
    ]
    said = {one.communicate(timeout=60)[0] for one in running}
    assert len(said) == 1
    assert said.pop().strip()


async def test_both_algorithms_sign_and_are_served(tmp_path):
    keys = AgentKeys.ephemeral(BOTH)
    served = read_key_set(json.dumps(keys.key_set()).encode())
    assert [key.algorithm for key in served] == list(BOTH)
    signed = keys.sign(whole_card(), jku="https://agent.example/.well-known/jwks.json")
    for key in served:
        assert (await verify_card(signed, Pinned([key]))).epoch == 1


@pytest.mark.parametrize("on_disk", [True, False])
def test_a_rotation_keeps_the_keys_before_it_until_they_retire(tmp_path, on_disk):
    keys = AgentKeys.load_or_make(tmp_path) if on_disk else AgentKeys.ephemeral()
    rotated = keys.rotate()
    assert rotated.epoch == 2
    assert rotated.signing_before == keys.signing
    assert rotated.noise_before == keys.noise
    assert rotated.noise != keys.noise
    assert len(rotated.public) == 2
    assert len(rotated.key_set()["keys"]) == 2
    retired = rotated.retire()
    assert retired.public == (rotated.public[0],)
    assert retired.noise_before is None
    assert retired.epoch == 2
    if on_disk:
        found = AgentKeys.load_or_make(tmp_path)
        assert found.public == retired.public
        assert found.noise == retired.noise


def test_a_rotation_on_disk_is_found_with_all_its_keys(tmp_path):
    rotated = AgentKeys.load_or_make(tmp_path, BOTH).rotate()
    found = AgentKeys.load_or_make(tmp_path)
    assert found.public == rotated.public
    assert found.noise_before == rotated.noise_before


def test_a_second_process_that_rotates_gets_the_first_ones_keys(tmp_path):
    first = AgentKeys.load_or_make(tmp_path)
    second = AgentKeys.load_or_make(tmp_path)
    rotated = first.rotate()
    assert second.rotate().public == rotated.public
    assert AgentKeys.load_or_make(tmp_path).epoch == 2


def test_a_rotation_outlives_the_removal_of_the_file(tmp_path):
    keys = AgentKeys.load_or_make(tmp_path)
    (tmp_path / FILE_NAME).unlink()
    assert AgentKeys.load_or_make(tmp_path).public != keys.public
    (tmp_path / FILE_NAME).unlink()
    rotated = keys.rotate()
    assert AgentKeys.load_or_make(tmp_path).public == rotated.public


def test_keys_never_print():
    keys = AgentKeys.ephemeral().rotate()
    shown = repr(keys)
    for secret in (keys.noise.private, keys.noise_before.private):
        assert repr(secret) not in shown
        assert secret.hex() not in shown
    assert "PRIVATE" not in shown
    assert "PrivateKey" not in shown


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o606])
def test_keys_that_others_may_read_are_not_used(tmp_path, mode):
    AgentKeys.load_or_make(tmp_path)
    (tmp_path / FILE_NAME).chmod(mode)
    with pytest.raises(CardError) as refused:
        AgentKeys.load_or_make(tmp_path)
    assert refusal(refused) is CardFault.STORE


def damage(**changes):
    def change(data):
        return json.dumps({**json.loads(data), **changes}).encode()

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda _: b"",
        lambda data: data[: len(data) // 2],
        lambda _: b"\xff",
        damage(version=2),
        damage(epoch="1"),
        damage(signing=[]),
        damage(signing=["no key"]),
        damage(signing_before=["no key"]),
        damage(noise="AAAA"),
        damage(noise_before="AAAA"),
        damage(more=1),
    ],
)
def test_damaged_keys_are_refused_and_never_replaced(tmp_path, change):
    AgentKeys.load_or_make(tmp_path)
    path = tmp_path / FILE_NAME
    path.write_bytes(change(path.read_bytes()))
    before = path.read_bytes()
    with pytest.raises(CardError) as refused:
        AgentKeys.load_or_make(tmp_path)
    assert refusal(refused) is CardFault.KEYS
    assert path.read_bytes() == before


def test_keys_do_not_go_through_a_link(tmp_path):
    AgentKeys.load_or_make(tmp_path / "real")
    (tmp_path / "other").mkdir(mode=0o700)
    (tmp_path / "other" / FILE_NAME).symlink_to(tmp_path / "real" / FILE_NAME)
    with pytest.raises(CardError) as refused:
        AgentKeys.load_or_make(tmp_path / "other")
    assert refusal(refused) is CardFault.STORE


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CardError) as refused:
        AgentKeys.load_or_make(tmp_path / "file" / "keys")
    assert refusal(refused) is CardFault.STORE
