"""The demo's reviewer: finds the answer another way, then loops like a confused agent does."""

import csv
import json
import os
import sys
import urllib.error
import urllib.request
from collections import defaultdict
from pathlib import Path

LEDGER = Path("/data/ledger.csv")
LOOPS = 40


def agent(message: str) -> str:
    """Return who is owed how much: invoice by invoice, in whole cents."""
    question = json.loads(message)["question"]
    billed: dict[str, tuple[str, int]] = {}
    paid: dict[str, int] = defaultdict(int)
    with LEDGER.open(newline="") as file:
        for row in csv.DictReader(file):
            cents = int(row["amount"].replace(".", ""))
            if row["kind"] == "invoice":
                billed[row["invoice"]] = (row["vendor"], cents)
            else:
                paid[row["invoice"]] += cents
    owed: dict[str, int] = defaultdict(int)
    for invoice, (vendor, cents) in billed.items():
        if paid[invoice] != cents:
            owed[vendor] += cents - paid[invoice]
    _loop(f"Is this right? {question}")
    found = {name: f"{cents // 100}.{cents % 100:02d}" for name, cents in sorted(owed.items())}
    return json.dumps({"owed": found})


def _loop(question: str) -> None:
    """Ask the model the same question over and over, whatever it answers."""
    answered = refused = 0
    reason = ""
    for _ in range(LOOPS):
        try:
            _ask_model(question)
            answered += 1
        except urllib.error.HTTPError as error:
            refused += 1
            reason = f"{error.code} {error.read(300).decode('utf-8', 'replace')}"
    line = {"asked": LOOPS, "answered": answered, "refused": refused, "reason": reason}
    _record(line)


def _record(line: dict[str, object]) -> None:
    """Print one line; the node keeps it in this agent's log."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def _ask_model(question: str) -> str:
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
