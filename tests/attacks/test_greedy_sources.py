"""A source that asks for everything, or for more later: without a person's yes it gets next to nothing."""

import json
import shutil

import pytest

from tests.attacks.living import living_node

EVERYTHING = """
[needs]
paths = ["/", "/etc:rw"]
hosts = ["*", "169.254.169.254:80"]
models = ["*"]
agents = ["*"]
tools = ["*"]
programs = ["*"]
gpu = true
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    with living_node(tmp_path_factory.mktemp("greedy")) as node:
        yield node


def write(node, name: str, spec: str, attribute: str = "reach"):
    place = node.deploy(attribute, name=name)  # makes the folder
    node.process.hive("agent", "rm", name)
    folder = node.folder / place
    head = f'name = "{name}"\nentry = "hostile.py:{attribute}"\nrequirements = []\n'
    (folder / "hive-agent.toml").write_text(head + spec)
    return folder


def given(node, name: str) -> list[str]:
    told = json.loads(node.process.hive("agent", "show", name, "--json"))
    return told["grant"]


def run(node, folder, *more: str) -> str:
    try:
        return node.process.hive("run", str(folder), *more)
    except RuntimeError as error:
        return str(error)


def test_a_source_that_asks_for_everything_gets_the_safe_grant(node):
    folder = write(node, "greedy", EVERYTHING)
    run(node, folder)
    if "greedy" not in node.process.hive("agent", "list"):
        return  # it was refused as a whole, which is as safe
    lines = " ".join(given(node, "greedy"))
    assert "169.254" not in lines
    assert "/etc" not in lines
    told = json.loads(node.ask("greedy", "169.254.169.254:80 192.0.2.1:443"))
    assert all(" 403" in one for answers in told.values() for one in answers[:2]), told


def test_a_host_that_a_source_asks_for_is_not_given_without_a_yes(node):
    folder = write(node, "hostly", '[needs]\nhosts = ["example.com:443"]\n')
    run(node, folder)
    assert "example.com" not in " ".join(given(node, "hostly"))


def test_a_host_that_was_confirmed_is_given(node):
    """Without this the tests around it would pass if no host were ever given."""
    folder = write(node, "confirmed", '[needs]\nhosts = ["example.com:443"]\n')
    run(node, folder, "--yes")
    assert "example.com" in " ".join(given(node, "confirmed"))


def test_what_was_confirmed_is_pinned_and_more_is_asked_again(node):
    folder = write(node, "growing", '[needs]\nhosts = ["example.com:443"]\n')
    run(node, folder, "--yes")
    spec = folder / "hive-agent.toml"
    spec.write_text(
        spec.read_text().replace('"example.com:443"', '"example.com:443", "evil.io:443"')
    )
    run(node, folder)
    assert "evil.io" not in " ".join(given(node, "growing"))


def test_another_source_does_not_inherit_a_yes_by_its_name(node):
    folder = write(node, "swapped", '[needs]\nhosts = ["example.com:443"]\n')
    run(node, folder, "--yes")
    other = folder.with_name("other-folder")
    shutil.copytree(folder, other)
    run(node, other, "--name", "swapped")
    assert "example.com" not in " ".join(given(node, "swapped"))
