"""What a node's agents spend: counted at once, told to a scraper, and the same after it was killed."""

import json
import urllib.error
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from hive.testing.node_process import node_process

ASKER = '''
import json, os, urllib.request

def asker(text):
    """Ask the model as often as it is told."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for number in range(int(text)):
        asked = {"model": "scripted", "messages": [{"role": "user", "content": str(number)}]}
        request = urllib.request.Request(
            os.environ["OPENAI_BASE_URL"] + "/chat/completions",
            data=json.dumps(asked).encode(),
            headers={
                "authorization": "Bearer " + os.environ["OPENAI_API_KEY"],
                "content-type": "application/json",
            },
        )
        with opener.open(request, timeout=20) as answer:
            answer.read()
    return "asked"
'''


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    folder = tmp_path_factory.mktemp("asker")
    (folder / "asker.py").write_text(ASKER)
    with node_process(tmp_path_factory.mktemp("node")) as running:
        running.hive("run", f"{folder}/asker.py:asker", "--yes")
        running.hive("call", "asker", "3")
        yield running


def scraped(node, token: str) -> dict[str, float]:
    request = urllib.request.Request(
        f"{node.url}/metrics", headers={"authorization": f"Bearer {token}"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    return {
        one.name: one.value
        for family in families
        for one in family.samples
        if one.labels.get("agent", "asker") == "asker"
        and one.labels.get("kind", "input") == "input"
    }


def totals(node) -> dict[str, int]:
    return json.loads(node.hive("cost", "--json"))["total"]


def test_calls_are_summed_and_scraped_and_outlive_a_kill(node):
    before = totals(node)
    assert before["calls"] == 3
    assert before["input_tokens"] > 0
    found = scraped(node, node.token())
    assert found["hive_model_calls_total"] == 3
    assert found["hive_model_tokens_total"] == before["input_tokens"]
    with pytest.raises(urllib.error.HTTPError, match="401"):
        scraped(node, "wrong")
    node.kill()
    node.start()
    assert totals(node) == before
    node.hive("call", "asker", "2")
    assert totals(node)["calls"] == 5
    # A counter begins again with its process; the live sums do not.
    assert scraped(node, node.token())["hive_model_calls_total"] == 2
    live = json.loads(
        urllib.request.urlopen(
            urllib.request.Request(
                f"{node.url}/api/spend", headers={"authorization": f"Bearer {node.token()}"}
            ),
            timeout=20,
        ).read()
    )
    assert live["complete"]
    assert live["upstreams"][0]["healthy"]
    assert live["total"]["calls"] == 5


def test_a_ceiling_is_told_with_what_is_spent_of_it(node):
    node.hive("budget", "set", "agent:asker", "--calls", "40")
    node.hive("call", "asker", "4")
    found = scraped(node, node.token())
    assert found["hive_budget_limit"] == 40
    assert found["hive_budget_spent"] >= 4
    assert found["hive_budget_reserved"] == 0
    assert found["hive_budget_closed"] == 0
