"""`hive warrant` without a node: keys, reading, handing on, verifying."""

import io
import json
from pathlib import Path

import pytest

from hive.cli.entry import run_command
from hive.core.clock import SystemClock
from hive.security.capability import MintOrder
from hive.security.capability.drivers import WARRANTS
from hive.security.capability.grammar import terms_in
from hive.security.capability.ports import WarrantOpening
from hive_a2a.crypto import new_signing_pair


@pytest.fixture
def hive(capsys, monkeypatch):
    """Run one command; return its code, output and errors."""

    def run(*arguments: str, stdin: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        code = run_command(["warrant", *arguments])
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


def mine():
    opening = WarrantOpening(url="tenuo:", root=b"r" * 32, clock=SystemClock())
    return WARRANTS.load("tenuo:").open(opening)


@pytest.fixture
def keys(hive, tmp_path: Path) -> dict[str, str]:
    return {name: hive("key", str(tmp_path / name))[1].strip() for name in ("holder", "next")}


@pytest.fixture
def token(keys: dict[str, str]) -> str:
    order = MintOrder(
        terms=(terms_in(["tool fs.read path=under:/data"]),),
        holder=bytes.fromhex(keys["holder"]),
        ttl_s=600,
        depth=1,
    )
    return mine().mint(order)


def test_a_key_is_for_its_owner_and_never_overwritten(hive, tmp_path, keys):
    file = tmp_path / "holder"
    assert file.stat().st_mode & 0o777 == 0o600
    assert len(keys["holder"]) == 64
    assert keys["holder"] not in file.read_text()
    code, _, told = hive("key", str(file))
    assert code != 0
    assert "cannot be written" in told


def test_a_warrant_is_read_from_a_word_a_file_and_a_pipe(hive, tmp_path, token):
    file = tmp_path / "warrant"
    file.write_text(token + "\n")
    shown = [hive("show", token), hive("show", str(file)), hive("show", "-", stdin=token)]
    assert len({one[1] for one in shown}) == 1
    assert "tool fs.read path=under:/data" in shown[0][1]
    assert json.loads(hive("show", token, "--json")[1])["depth"] == 1


def test_it_is_handed_on_and_verified_without_a_node(hive, tmp_path, keys, token):
    more = ("--key", str(tmp_path / "holder"), "--to", keys["next"], "--allow", "tool *", "--json")
    made = json.loads(hive("attenuate", token, *more)[1])
    assert made["links"] == [["tool fs.read path=under:/data"], ["tool *"]]
    assert made["depth"] == 0
    code, told, _ = hive("verify", made["token"], "--root", mine().root)
    assert code == 0
    assert "What all of these allow" in told
    stranger = new_signing_pair().public.hex()
    assert hive("verify", made["token"], "--root", stranger)[0] != 0
    assert hive("verify", made["token"], "--root", "no key")[0] != 0


def test_who_has_no_key_hands_nothing_on(hive, tmp_path, keys, token):
    more = ("--to", keys["next"], "--allow", "tool *")
    code, _, told = hive("attenuate", token, "--key", str(tmp_path / "next"), *more)
    assert code != 0
    assert "cannot be handed on" in told
    (tmp_path / "junk").write_text("junk")
    assert "holds no key" in hive("attenuate", token, "--key", str(tmp_path / "junk"), *more)[2]


@pytest.mark.parametrize("text", ["not a warrant at all", "\u00e9", "AAAA" * 100, "A" * 70_000])
def test_what_is_no_warrant_is_told_so(hive, text):
    code, _, told = hive("show", "-", stdin=text)
    assert code != 0
    assert "warrant" in told


def test_one_thing_is_revoked_at_a_time(hive):
    assert "Name one" in hive("revoke")[2]
    assert "Name one" in hive("revoke", "x", "--task", "y")[2]
