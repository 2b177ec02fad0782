"""Small agents whose right answer is known beforehand: `MARK SECONDS`, and what else they need."""

import os
import time
import urllib.error
import urllib.request


def shout(text: str) -> str:
    """Take a while, then answer in capitals."""
    mark, seconds = text.split()
    time.sleep(float(seconds))
    return mark.upper()


def think(text: str) -> str:
    """Ask a model, take a while, ask it about its own answer."""
    mark, seconds = text.split()
    first = _ask(mark)
    time.sleep(float(seconds))
    return _ask(first)


def relay(text: str) -> str:
    """Let another agent do it."""
    import hive_guest

    return "relayed " + hive_guest.call("shout", text)


def count(text: str) -> str:
    """`HOST:PORT/PATH SECONDS`: add one in a store that is not Hive's, then take a while."""
    place, seconds = text.split()
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = ""
    request = urllib.request.Request(f"http://{place}", data=b"{}", method="POST")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            said = answer.read().decode()
    except urllib.error.HTTPError as error:
        said = f"refused {error.code}"
    time.sleep(float(seconds))
    return f"counted {said}"


def _ask(text: str) -> str:
    import json

    body = {"model": "scripted", "messages": [{"role": "user", "content": text}]}
    request = urllib.request.Request(
        os.environ["OPENAI_BASE_URL"] + "/chat/completions",
        data=json.dumps(body).encode(),
        headers={
            "Content-Type": "application/json",
            "Authorization": "Bearer " + os.environ["OPENAI_API_KEY"],
        },
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())["choices"][0]["message"]["content"]
