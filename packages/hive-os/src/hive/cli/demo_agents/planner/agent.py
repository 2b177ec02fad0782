"""The demo's planner: sends the question to two agents over A2A and answers only what both found."""

import json
import os
import sys
import urllib.request

import hive_guest

RESEARCHER = "demo-researcher"
REVIEWER = "demo-reviewer"


def agent(message: str) -> str:
    """Answer a question about the ledger."""
    _record({"did": "plan", "model_said": _ask_model(f"Plan this: {message}")})
    order = json.dumps({"question": message, **_data()})
    found = json.loads(hive_guest.call(RESEARCHER, order))
    checked = json.loads(hive_guest.call(REVIEWER, order))
    if found["owed"] != checked["owed"]:
        return f"The agents disagree: {found['owed']} against {checked['owed']}"
    return " · ".join(f"{vendor} {float(sum_):,.2f}" for vendor, sum_ in found["owed"].items())


def _data() -> dict[str, object]:
    """Return the data that the operator sent beside the question."""
    for part in hive_guest.turn().message.get("parts", []):
        if isinstance(part.get("data"), dict):
            return dict(part["data"])
    return {}


def _record(line: dict[str, object]) -> None:
    """Print one line; the node keeps it in this agent's log."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def _ask_model(question: str) -> str:
    """Ask the model that the environment names, as any client of that wire would."""
    body = {"model": "scripted", "messages": [{"role": "user", "content": question}]}
    request = urllib.request.Request(  # noqa: S310  the node's own address
        os.environ["OPENAI_BASE_URL"] + "/chat/completions",  # noqa: TID251  an agent has no settings
        data=json.dumps(body).encode(),
        headers={
            "authorization": f"Bearer {os.environ['OPENAI_API_KEY']}",  # noqa: TID251
            "content-type": "application/json",
        },
    )
    # The model lies at a loopback address, which is no business of the proxy.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as answer:
        text: str = json.load(answer)["choices"][0]["message"]["content"]
    return text
