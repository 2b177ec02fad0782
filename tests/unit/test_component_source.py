"""A component as a source: one file and its table, nothing beside it; what it runs in follows from its grant."""

import pytest

from hive.core.errors import SpecError
from hive.core.grant import Grant, PathRule, Tier
from hive.core.spec import StartKind
from hive.execution.ports import Probe
from hive.execution.source import find_source
from hive.execution.tiers import choose_tier


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "agent").mkdir()
    place = tmp_path / "agent"
    (place / "greeter.wasm").write_bytes(b"\0asm")
    (place / "secret.txt").write_text("not for agents")
    return place


def test_a_file_is_an_agent_that_sees_nothing_beside_it(folder, tmp_path):
    found = find_source("./greeter.wasm", cwd=folder, home=tmp_path)
    assert found.spec.name == "greeter"
    assert found.spec.entry.kind is StartKind.COMPONENT
    assert [one.path for one in found.visible.files] == ["greeter.wasm"]


def test_its_table_says_what_it_asks_for(folder, tmp_path):
    (folder / "hive-agent.toml").write_text(
        'name = "polite"\nentry = "greeter.wasm"\n[needs]\nagents = ["other"]\n'
    )
    for text in (".", "./greeter.wasm"):
        found = find_source(text, cwd=folder, home=tmp_path)
        assert found.spec.name == "polite"
        assert found.spec.needs.agents == ("other",)
        assert found.spec.entry.path == "greeter.wasm"


def test_its_digest_is_of_its_bytes(folder, tmp_path):
    before = find_source("./greeter.wasm", cwd=folder, home=tmp_path).spec.digest
    (folder / "secret.txt").write_text("changed")
    assert find_source("./greeter.wasm", cwd=folder, home=tmp_path).spec.digest == before
    (folder / "greeter.wasm").write_bytes(b"\0asm!")
    assert find_source("./greeter.wasm", cwd=folder, home=tmp_path).spec.digest != before


def test_a_file_that_is_not_there_is_told(folder, tmp_path):
    with pytest.raises(SpecError, match="does not exist"):
        find_source("./other.wasm", cwd=folder, home=tmp_path)


def test_files_move_it_one_tier_up_and_never_down():
    probes = [
        Probe(tier=tier, scheme=tier.name.lower(), available=True, walls=())
        for tier in (Tier.WASM, Tier.PROCESS, Tier.GVISOR)
    ]
    files = Grant(paths=(PathRule(host="/data", inside="/data"),))
    assert choose_tier(Grant(), probes, component=True).tier is Tier.WASM
    assert choose_tier(files, probes, component=True).tier is Tier.PROCESS
    assert choose_tier(Grant(), probes, component=True, floor=Tier.GVISOR).tier is Tier.GVISOR
