"""Agents that do things which can be counted from outside."""

import os
import time
import urllib.error
import urllib.request


def _post(path: str) -> str:
    """Add one in the counter's own store, through the way out that the environment names."""
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = ""
    host, _, rest = path.partition("/")
    request = urllib.request.Request(f"http://{host}/{rest}", data=b"{}", method="POST")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        return f"refused {error.code}: {error.read().decode()}"


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


def count_then_wait(text: str) -> str:
    """`HOST:PORT/PATH SECONDS`: count once, then take a while."""
    place, seconds = text.split()
    counted = _post(place)
    time.sleep(float(seconds))
    return f"counted {counted}"


def think_then_wait(text: str) -> str:
    """Ask a model, take a while, ask again."""
    first = _ask("first " + text)
    time.sleep(1.5)
    return first + " / " + _ask("second " + text)


def slowly(text: str) -> str:
    """Take as long as it is told."""
    time.sleep(float(text))
    return "done"
