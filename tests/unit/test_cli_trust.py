"""Keys and signatures from the command line, without a node and without a network."""

import json

import pytest

from hive.cli.entry import run_command
from hive.execution.source import find_source
from hive.node.provenance import papers_beside


@pytest.fixture
def hive(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shouter").mkdir()
    (tmp_path / "shouter" / "agent.py").write_text("def agent(text):\n    return text\n")
    (tmp_path / "shouter" / "requirements.txt").write_text("anyio==4.9.0\n")

    def run(*words: str) -> tuple[int, str, str]:
        code = run_command(["--state", str(tmp_path / "state"), *words])
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


def test_a_key_is_made_trusted_listed_and_taken_away(hive, tmp_path):
    assert "No key" in hive("trust")[1]
    made = json.loads(hive("trust", "key", "a.key", "--json")[1])
    assert hive("trust", "key", "a.key")[0] == 1
    assert hive("trust", "add", "a.key")[0] == 1, "a private key is none to be trusted"
    added = json.loads(hive("trust", "add", "a.key.pub", "--name", "ann", "--json")[1])
    assert (added["name"], added["id"], added["kind"]) == ("ann", made["id"], "ed25519")
    assert [json.loads(hive("trust", "list", "--json")[1])] == [added]
    assert hive("trust", "rm", "ann")[0] == 0
    assert hive("trust", "rm", "ann")[0] == 1


def test_a_source_is_signed_and_verified_and_says_who_it_was(hive, tmp_path):
    hive("trust", "key", "a.key")
    assert hive("agent", "sign", "shouter/agent.py:agent", "--name", "shouter")[0] == 2
    signed = ("shouter/agent.py:agent", "--name", "shouter")
    assert hive("agent", "sign", *signed, "--key", "a.key")[0] == 0
    assert json.loads(hive("agent", "verify", *signed, "--json")[1])["signed"] is False
    hive("trust", "add", "a.key.pub", "--name", "ann")
    code, out, _ = hive("agent", "verify", *signed, "--json")
    told = json.loads(out)
    assert (code, told["signed"], told["signer"]) == (0, True, "ann")
    bill = json.loads(hive("agent", "sbom", *signed)[1])
    assert [one["purl"] for one in bill["components"]] == ["pkg:pypi/anyio@4.9.0"]
    statement = json.loads(hive("agent", "sign", *signed, "--statement")[1])
    assert statement["predicate"]["name"] == "shouter"
    assert hive("agent", "verify", "https://example.org")[0] == 1


def test_a_bundle_may_lie_elsewhere(hive, tmp_path):
    hive("trust", "key", "a.key")
    hive("trust", "add", "a.key.pub", "--name", "ann")
    there = tmp_path / "there"
    there.mkdir()
    words = ("shouter/agent.py:agent", "--name", "shouter")
    hive("agent", "sign", *words, "--key", "a.key", "--no-sbom", "--out", str(there / "b.json"))
    assert hive("agent", "verify", *words)[0] == 1
    assert hive("agent", "verify", *words, "--bundle", str(there / "b.json"))[0] == 0
    assert hive("agent", "verify", *words, "--bundle", str(there / "no.json"))[0] == 1
    spec = find_source(
        "shouter/agent.py:agent", cwd=tmp_path, home=tmp_path / "h", name="shouter"
    ).spec
    assert papers_beside(spec, str(there / "b.json")).bundle is not None


def test_a_command_is_signed_with_its_words(hive):
    hive("trust", "key", "a.key")
    hive("trust", "add", "a.key.pub", "--name", "ann")
    assert (
        hive(
            "agent", "sign", "--name", "pipe", "--key", "a.key", "--", "python", "shouter/agent.py"
        )[0]
        == 0
    )
    assert hive("agent", "verify", "--name", "pipe", "--", "python", "shouter/agent.py")[0] == 0
    code, out, _ = hive(
        "agent", "verify", "--name", "pipe", "--", "python", "shouter/agent.py", "--root"
    )
    assert (code, "argv" in out) == (1, True)
