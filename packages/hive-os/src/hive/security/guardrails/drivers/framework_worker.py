"""One guard framework, asked by lines of JSON; a file that stands alone and runs on the framework's own Python.

    python -I framework_worker.py KIND '{"scanners": "regex,hidden_ascii"}'

It says `{"ready": "1.0.3"}` or `{"failed": "..."}` once, then answers each line `{"id", "text", "direction"}` with
`{"id", "findings": [{"kind", "score", "rule"}]}` or `{"id", "missing": "..."}`. It imports nothing of Hive: these
frameworks pin other versions of half of everything. It dies with whoever started it, and what the framework prints
goes nowhere. No model is fetched while it runs: weights come from a folder that is named.
"""

import asyncio
import ctypes
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import Any

LINE_MAX_BYTES = 8 << 20
_PR_SET_PDEATHSIG = 1
Finding = dict[str, object]
Ask = Callable[[str, str], Iterator[Finding]]
INWARD = "inward"
LLM_GUARD_KINDS = {
    "PromptInjection": "injection",
    "Secrets": "secret",
    "InvisibleText": "hidden",
    "Anonymize": "personal",
}
LLAMA_KINDS = {
    "prompt_guard": "injection",
    "hidden_ascii": "hidden",
    "agent_alignment": "injection",
    "pii_detection": "personal",
    "regex": "regex",
    "code_shield": "code",
}


def open_llm_guard(options: dict[str, str]) -> Ask:
    """Load scanners of LLM Guard by name; `model` is a folder with the weights of its classifier."""
    from llm_guard.input_scanners import get_scanner_by_name  # type: ignore[import-not-found]
    from llm_guard.model import Model  # type: ignore[import-not-found]

    named = options.get("scanners", "PromptInjection,InvisibleText").split(",")
    scanners = []
    for name in named:
        given: dict[str, Any] = {}
        if name == "PromptInjection" and options.get("model"):
            given = {"model": Model(path=options["model"])}
        scanners.append((name, get_scanner_by_name(name, given)))

    def ask(text: str, direction: str) -> Iterator[Finding]:
        for name, scanner in scanners:
            _, valid, risk = scanner.scan(text)
            score = max(float(risk), 0.0 if valid else 0.5)
            yield {
                "kind": LLM_GUARD_KINDS.get(name, name.lower()),
                "score": score,
                "rule": f"llm-guard/{name}",
            }

    return ask


def open_llamafirewall(options: dict[str, str]) -> Ask:
    """Load scanners of LlamaFirewall by the names of its `ScannerType`."""
    from llamafirewall import (  # type: ignore[import-not-found]
        Message,
        Role,
        ScanDecision,
        ScannerType,
    )
    from llamafirewall.llamafirewall import create_scanner  # type: ignore[import-not-found]

    named = options.get("scanners", "prompt_guard,hidden_ascii").split(",")
    scanners = [(name, create_scanner(ScannerType(name))) for name in named]

    def ask(text: str, direction: str) -> Iterator[Finding]:
        message = Message(role=Role.TOOL if direction == INWARD else Role.ASSISTANT, content=text)
        for name, scanner in scanners:
            result = asyncio.run(scanner.scan(message, None))
            # Rules give the score of their answer, also where the answer is yes; the classifier that of the attack.
            counts = result.decision is not ScanDecision.ALLOW or name == "prompt_guard"
            yield {
                "kind": LLAMA_KINDS.get(name, name),
                "score": float(result.score) if counts else 0.0,
                "rule": f"llamafirewall/{name}",
            }

    return ask


def open_nemo(options: dict[str, str]) -> Ask:
    """Load the rails of a folder; rails that need a model need the one that the folder names."""
    from nemoguardrails import LLMRails, RailsConfig  # type: ignore[import-not-found]
    from nemoguardrails.rails.llm.options import (  # type: ignore[import-not-found]
        RailStatus,
        RailType,
    )

    rails = LLMRails(RailsConfig.from_path(options["config"]))

    def ask(text: str, direction: str) -> Iterator[Finding]:
        inward = direction == INWARD
        role, kind = ("user", RailType.INPUT) if inward else ("assistant", RailType.OUTPUT)
        result = rails.check([{"role": role, "content": text}], rail_types=[kind])
        scores = {RailStatus.PASSED: 0.0, RailStatus.MODIFIED: 0.5, RailStatus.BLOCKED: 1.0}
        yield {
            "kind": options.get("kind", "injection"),
            "score": scores[result.status],
            "rule": f"nemo/{result.rail or 'rails'}",
        }

    return ask


OPENERS = {
    "llm-guard": (open_llm_guard, "llm-guard"),
    "llamafirewall": (open_llamafirewall, "llamafirewall"),
    "nemo": (open_nemo, "nemoguardrails"),
}


def main(kind: str, options: dict[str, str]) -> int:
    """Answer lines until there are no more."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

    def say(value: dict[str, object]) -> None:
        out.write(json.dumps(value).encode() + b"\n")

    opener, package = OPENERS[kind]
    try:
        ask = opener(options)
        say({"ready": metadata.version(package)})
    except Exception as error:  # noqa: BLE001, whatever a framework raises is told to whoever started it
        say({"failed": f"{type(error).__name__}: {error}"[:500]})
        return 1
    for line in iter(lambda: sys.stdin.buffer.readline(LINE_MAX_BYTES), b""):
        asked = json.loads(line)
        try:
            findings = list(ask(asked["text"], asked["direction"]))
            say({"id": asked["id"], "findings": findings})
        except Exception as error:  # noqa: BLE001, as above: the signal is missing, nothing else ends
            say({"id": asked["id"], "missing": f"{type(error).__name__}: {error}"[:500]})
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], json.loads(sys.argv[2])))
