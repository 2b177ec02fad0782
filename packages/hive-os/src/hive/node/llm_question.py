"""One tiny question to a model provider, asked for its operator: does it answer, and how fast?"""

import json
from typing import Final

import anyio

from hive.core.clock import Clock
from hive.core.errors import HiveError
from hive.core.ids import plain_text
from hive.core.json import Json, decode
from hive.protocols.models.ports import Dialect, ModelAnswer, ModelRequest
from hive.protocols.models.routing.live import LiveUpstream
from hive.protocols.models.usage import UsageMeter
from hive.web.llm import LlmTried

WAIT_S: Final = 60.0
ANSWER_MAX_BYTES: Final = 1 << 20
PROBLEM_MAX_CHARS: Final = 300
UNNAMED: Final = "no-model-named"
_ASKED: Final = "Answer with the one word: ok"
_WIRES: Final = (Dialect.CHAT, Dialect.MESSAGES, Dialect.RESPONSES, Dialect.GEMINI)
_NO_TALKERS: Final = (
    "audio", "dall-e", "embed", "image", "moderation", "realtime", "rerank", "transcribe", "tts",
    "veo", "whisper",
)  # fmt: skip
_SMALL: Final = ("nano", "mini", "haiku", "flash", "small")
_FIXES: Final = {
    401: "The key is not valid: hive secret set {secret}",
    402: "The provider wants money: look at its account.",
    403: "The key may not do that: look at the provider's account.",
    404: "Name a model that it has: hive llm test {name} --model MODEL",
    429: "The provider's limit is reached: wait, or look at its account.",
}


async def tried(live: LiveUpstream, model: str, clock: Clock) -> LlmTried:
    """Ask, and tell how it went; a provider that answers is left alone no longer."""
    name = live.name
    wire = next((one for one in _WIRES if one in live.spoken()), None)
    # Where it names none, its answer still tells whether it is there and takes the key.
    model = model or talker(live.known) or UNNAMED
    if live.problem or wire is None:
        problem = live.problem or "It speaks no wire in which a question can be asked."
        return LlmTried(name=name, ok=False, model=model, problem=problem, fix="hive llm list")
    began = clock.monotonic()
    try:
        with anyio.fail_after(WAIT_S):
            async with live.opened().ask(tiny(wire, model)) as answer:
                status, body = answer.head.status, await _whole(answer)
    except (HiveError, TimeoutError) as error:
        problem = str(error) or f"It did not answer within {WAIT_S:.0f} s."
        fix = f"Is it there? Its address is {live.row.url}"
        return LlmTried(name=name, ok=False, model=model, problem=problem, fix=fix)
    took_ms = round((clock.monotonic() - began) * 1000, 1)
    return _told(live, model, wire, status, body, took_ms)


def tiny(wire: Dialect, model: str) -> ModelRequest:
    """Return the question in a wire's words."""
    document: dict[str, Json] = {"model": model}
    headers = [("content-type", "application/json")]
    message: Json = {"role": "user", "content": _ASKED}
    match wire:
        case Dialect.MESSAGES:
            document |= {"max_tokens": 16, "messages": [message]}
            headers.append(("anthropic-version", "2023-06-01"))
        case Dialect.RESPONSES:
            document |= {"input": _ASKED}
        case Dialect.GEMINI:
            document = {"contents": [{"role": "user", "parts": [{"text": _ASKED}]}]}
        case _:
            document |= {"messages": [message]}
    return ModelRequest(
        dialect=wire,
        model=model,
        stream=False,
        body=json.dumps(document).encode(),
        document=document,
        headers=tuple(headers),
        action="generateContent" if wire is Dialect.GEMINI else "",
    )


def talker(names: tuple[str, ...]) -> str:
    """Return a model that talks, a small one where names tell; empty where there is none."""
    talkers = [one for one in names if not any(word in one.lower() for word in _NO_TALKERS)]
    small = (one for one in talkers if any(word in one.lower() for word in _SMALL))
    return next(small, talkers[0] if talkers else "")


async def _whole(answer: ModelAnswer) -> bytes:
    body = bytearray()
    async for chunk in answer.chunks():
        body += chunk
        if len(body) > ANSWER_MAX_BYTES:
            break
    return bytes(body)


def _told(
    live: LiveUpstream, model: str, wire: Dialect, status: int, body: bytes, took_ms: float
) -> LlmTried:
    if status >= 400:
        fix = _FIXES.get(status, "Its own status page may tell more.")
        return LlmTried(
            name=live.name,
            ok=False,
            model=model,
            wire=wire.name.lower(),
            status=status,
            took_ms=took_ms,
            problem=_problem(body) or f"It answered {status}.",
            fix=fix.format(name=live.name, secret=live.row.secret or "NAME"),
        )
    live.breaker.succeeded()
    live.count_answer(took_ms)
    meter = UsageMeter(streams=False)
    meter.feed(body)
    cost = meter.cost()
    used = [cost.get(key) for key in ("input_tokens", "output_tokens")]
    return LlmTried(
        name=live.name,
        ok=True,
        model=model,
        wire=wire.name.lower(),
        status=status,
        took_ms=took_ms,
        input_tokens=used[0] if isinstance(used[0], int) else None,
        output_tokens=used[1] if isinstance(used[1], int) else None,
    )


def _problem(body: bytes) -> str:
    try:
        document = decode(body)
    except ValueError:
        return ""
    error = document.get("error") if isinstance(document, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    return plain_text(message)[:PROBLEM_MAX_CHARS] if isinstance(message, str) else ""
