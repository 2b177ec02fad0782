"""A provider that is a Python library: run in a process of its own, asked over a private socket.

The process starts with the first question, because such a library takes seconds and a hundred megabytes to
import, and it ends with the node: it reads its standard input, whose other end only the node holds. The key
goes that way too, never in an argument or the environment. The wire between them is OpenAI's chat.
"""

import sys
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from subprocess import DEVNULL
from tempfile import TemporaryDirectory
from typing import ClassVar, Final, Self

import anyio
import httpcore
from anyio.abc import Process

from hive.core.clock import Clock
from hive.core.errors import (
    EngineTimeoutError,
    EngineUnavailableError,
    MissingExtraError,
)
from hive.core.json import encode
from hive.core.randomness import SystemRandomness
from hive.core.secret import Secret
from hive.protocols.models.ports import Dialect, ModelHead, ModelRequest
from hive.protocols.models.scrub import KeyScrubber

START_TIMEOUT_S: Final = 120.0
READ_TIMEOUT_S: Final = 300.0
CONNECTIONS_MAX: Final = 32
CHILD: Final = "hive.protocols.models.drivers.library_child"
# A library finds nothing of the node's own environment: no key of another provider, no settings file.
ENVIRONMENT: Final[Mapping[str, str]] = {
    "LC_ALL": "C.UTF-8",
    "PYTHONUNBUFFERED": "1",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_MODE": "PRODUCTION",
}


class LibraryAnswer:
    """An answer of the library while it comes."""

    def __init__(self, response: httpcore.Response, key: bytes) -> None:
        self._response = response
        self._key = key
        self.head: ModelHead = ModelHead(
            status=response.status,
            headers=tuple(
                (name.decode("latin-1"), value.decode("latin-1"))
                for name, value in response.headers
                if name.lower() == b"content-type"
            ),
        )

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the body; what the library repeats of the key is taken out."""
        scrubber = KeyScrubber(self._key)
        try:
            async for chunk in self._response.aiter_stream():
                if clean := scrubber.feed(chunk):
                    yield clean
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise _gone() from error
        except httpcore.TimeoutException as error:
            raise _slow() from error
        if rest := scrubber.end():
            yield rest


class LibraryUpstream:
    """Ask a library on OpenAI's chat wire. A driver says which one, and what it needs."""

    LIBRARY: ClassVar[str] = ""
    NEEDS: ClassVar[Mapping[str, str]] = {}
    MODELS: ClassVar[Sequence[str]] = ()

    def __init__(self, *, options: Mapping[str, str], key: Secret, folder: Path) -> None:
        self._options = options
        self._key = key
        self._socket = folder / "model.sock"
        self._token = SystemRandomness().token(16).hex()
        self._process: Process | None = None
        self._starting = anyio.Lock()
        # No connection is kept: one to a process that has died since could not be told from a lost question.
        self._pool = httpcore.AsyncConnectionPool(
            uds=str(self._socket), max_connections=CONNECTIONS_MAX, max_keepalive_connections=0
        )
        self.dialects: frozenset[Dialect] = frozenset({Dialect.CHAT})

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, *, key: Secret, clock: Clock, timeout_s: float
    ) -> AsyncIterator[Self]:
        """Open the library behind a URL of this scheme; it is not started before it is asked.

        Raises:
            ConfigError: the URL cannot be used.
            MissingExtraError: a package is not installed.

        """
        del clock, timeout_s
        options = cls.options_of(url)
        for module, command in cls.NEEDS.items():
            if find_spec(module) is None:
                raise MissingExtraError(
                    f"HIVE_MODELS={url.partition(':')[0]}: needs a package that is not installed.",
                    why=f"The module {module!r} is missing.",
                    fix=command,
                )
        async with AsyncExitStack() as stack:
            folder = stack.enter_context(TemporaryDirectory(prefix="hive-model-"))
            upstream = cls(options=options, key=key, folder=Path(folder))
            stack.push_async_callback(upstream.aclose)
            yield upstream

    @classmethod
    def options_of(cls, url: str) -> Mapping[str, str]:
        """Return what the URL says after its scheme. Raises ConfigError where it cannot be used."""
        return {"place": url.partition(":")[2]}

    @asynccontextmanager
    async def ask(self, request: ModelRequest) -> AsyncIterator[LibraryAnswer]:
        """Answer a request; the first one starts the process."""
        await self._start()
        asked = httpcore.Request(
            "POST",
            "http://library/v1/chat/completions",
            headers={
                "host": "library",
                "content-type": "application/json",
                "authorization": f"Bearer {self._token}",
                "content-length": str(len(request.body)),
            },
            content=request.body,
            extensions={"timeout": {"read": READ_TIMEOUT_S, "pool": READ_TIMEOUT_S}},
        )
        try:
            response = await self._send(asked)
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise _gone() from error
        except httpcore.TimeoutException as error:
            raise _slow() from error
        try:
            yield LibraryAnswer(response, self._key.reveal().encode())
        finally:
            with anyio.move_on_after(2, shield=True):
                await response.aclose()

    async def _send(self, asked: httpcore.Request) -> httpcore.Response:
        """Send a question; where the process has just died, it never had it, so a new one gets it."""
        try:
            return await self._pool.handle_async_request(asked)
        except httpcore.ConnectError:
            async with self._starting:
                await self._end()
            await self._start()
            return await self._pool.handle_async_request(asked)

    async def models(self) -> Sequence[str]:
        """Return the names it knows; a library of many providers cannot tell."""
        return self.MODELS

    async def aclose(self) -> None:
        """End the process and everything of it."""
        with anyio.CancelScope(shield=True):
            await self._pool.aclose()
            await self._end()

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            if process.returncode is None:
                process.kill()
            await process.aclose()
        self._socket.unlink(missing_ok=True)

    async def _start(self) -> None:
        async with self._starting:
            if self._process is not None and self._process.returncode is None:
                return
            await self._end()
            command = [sys.executable, "-P", "-m", CHILD]
            environment = {**ENVIRONMENT, "HOME": str(self._socket.parent)}
            self._process = await anyio.open_process(
                command, stderr=DEVNULL, env=environment, cwd=self._socket.parent
            )
            try:
                with anyio.fail_after(START_TIMEOUT_S):
                    await self._await_ready(self._process)
            except TimeoutError as error:
                raise _slow() from error

    async def _await_ready(self, process: Process) -> None:
        order = {
            "library": self.LIBRARY,
            "socket": str(self._socket),
            "token": self._token,
            "key": self._key.reveal(),
            "options": dict(self._options),
        }
        if process.stdin is None or process.stdout is None:
            raise _gone()
        told = b""
        try:
            await process.stdin.send(encode(order) + b"\n")
            while not told.endswith(b"\n"):
                told += await process.stdout.receive(4096)
        except (anyio.EndOfStream, anyio.BrokenResourceError) as error:
            raise _gone() from error
        if told != b"ready\n":
            raise EngineUnavailableError(
                "The model library did not start.",
                why=told.decode("utf-8", "replace").strip()[:200],
                fix="Look at HIVE_MODELS; `hive doctor` tries it.",
            )


def _gone() -> EngineUnavailableError:
    return EngineUnavailableError(
        "The process of the model library has ended.",
        fix="Ask again: it is started again. If it goes on, look at HIVE_MODELS.",
    )


def _slow() -> EngineTimeoutError:
    return EngineTimeoutError("The model library did not answer in time.", fix="Try again later.")
