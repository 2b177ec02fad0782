"""An agent whose runs are replayed: random ids in its prompts, calls side by side, calls in a row."""

import json
import os
import urllib.error
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor

QUESTION = "in short"


def _ask(text: str) -> str:
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


def recall(text: str) -> str:
    """Ask once with a random id, three times at once, once more with what came back."""
    first = _ask(f"request {uuid.uuid4()}: {text}")
    with ThreadPoolExecutor(3) as pool:
        parts = list(pool.map(_ask, [f"part {n} of {text}" for n in range(3)]))
    return " | ".join([first, *parts, _ask(f"{QUESTION}: {parts[-1]}")])


def reach_out(text: str) -> str:
    """Try every way out."""
    told = []
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = ""
    for place in (f"http://{text}/count", f"https://{text}/count"):
        try:
            with urllib.request.urlopen(place, data=b"{}", timeout=10) as answer:
                told.append(answer.read().decode())
        except (urllib.error.URLError, OSError) as error:
            told.append(type(error).__name__)
    return str(told)
