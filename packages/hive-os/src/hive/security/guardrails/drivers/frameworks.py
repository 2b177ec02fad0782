"""LLM Guard, LlamaFirewall and NeMo Guardrails, each in an environment of its own, asked by lines of JSON.

    llm-guard:/opt/llm-guard/bin/python?scanners=PromptInjection&model=/opt/weights
    llamafirewall:/opt/llamafirewall/bin/python?scanners=prompt_guard,hidden_ascii
    nemo:/opt/nemo/bin/python?config=/opt/rails

The URL names the Python of an environment where the operator installed the framework. The process gets no variable
and no key of the node. It is the operator's own choice and runs as the node's user, not behind the walls of an agent;
where that is not wanted, run it elsewhere and name it with `http:`. While it loads, after a time-out and after its
death the signal is missing, never a call.
"""

import json
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Final
from urllib.parse import unquote

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from hive.core.clock import Clock
from hive.core.drivers import query_of
from hive.core.errors import ConfigError
from hive.core.ids import plain_text
from hive.core.json import Json, decode, encode
from hive.security.guardrails.drivers.scorer import TEXT_MAX_CHARS, read_answer
from hive.security.guardrails.ports import Direction, ScanReport

LINE_MAX_BYTES: Final = 1 << 20
PAUSE_S: Final = 30.0
END_S: Final = 2.0
_WORKER: Final = Path(__file__).with_name("framework_worker.py")
_GONE: Final = (
    anyio.EndOfStream,
    anyio.IncompleteRead,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    anyio.DelimiterNotFound,
    OSError,
    ValueError,
)


class LlmGuardScanner:
    """Asks a framework in a process of its own, one text at a time."""

    KIND: ClassVar[str] = "llm-guard"
    NEEDS: ClassVar[str] = ""

    def __init__(self, url: str, *, timeout_s: float, clock: Clock) -> None:
        python = unquote(url.partition(":")[2].partition("?")[0])
        options = {name: unquote(value) for name, value in query_of(url).items()}
        if not Path(python).is_absolute() or not Path(python).exists():
            raise ConfigError(
                "HIVE_GUARD_URL names no Python.",
                why=f"{python or 'nothing'} is no program on this machine.",
                fix=f"Make an environment and name it: {self.KIND}:/path/venv/bin/python",
            )
        if self.NEEDS and not options.get(self.NEEDS):
            raise ConfigError(
                "HIVE_GUARD_URL is not complete.",
                why=f"{self.KIND} needs `{self.NEEDS}`.",
                fix=f"{self.KIND}:{python}?{self.NEEDS}=/path",
            )
        self._command = [python, "-I", str(_WORKER), self.KIND, json.dumps(options)]
        self._home = options.get("home", "/nonexistent")
        self._timeout_s = timeout_s
        self._clock = clock
        self._lock = anyio.Lock()
        self._process: Process | None = None
        self._lines: BufferedByteReceiveStream | None = None
        self._ready = ""
        self._paused_until = 0.0
        self._asked = 0

    async def scan(self, text: str, direction: Direction, source: str) -> ScanReport:
        """Report what the framework says, or that it says nothing."""
        try:
            with anyio.fail_after(self._timeout_s):
                async with self._lock:
                    return await self._scan(text[:TEXT_MAX_CHARS], direction, source)
        except TimeoutError:
            still = "did not answer in time" if self._ready else "is still loading"
            return ScanReport(missing=f"the framework {still}")
        except _GONE as error:
            await self._stop()
            self._paused_until = self._clock.monotonic() + PAUSE_S
            return ScanReport(missing=plain_text(f"the framework failed: {error}"[:300]))

    async def _scan(self, text: str, direction: Direction, source: str) -> ScanReport:
        if self._clock.monotonic() < self._paused_until:
            return ScanReport(missing="the framework failed a moment ago")
        await self._open()
        try:
            return await self._ask(text, direction, source)
        except BaseException:
            # Cut short: its next line would be the answer to this text, not to the next.
            await self._stop()
            raise

    async def _open(self) -> None:
        """Start the process if there is none, and wait until it has loaded; a wait that is cut short goes on later."""
        if self._process is None:
            # No model is fetched behind the operator's back; what the framework prints is dropped.
            environment = {
                "HOME": self._home,
                "LANG": "C.UTF-8",
                "HF_HUB_OFFLINE": "1",
                "TRANSFORMERS_OFFLINE": "1",
                "TOKENIZERS_PARALLELISM": "false",
                "NEMO_GUARDRAILS_TELEMETRY": "0",
            }
            self._process = await anyio.open_process(
                self._command, stderr=subprocess.DEVNULL, env=environment, cwd="/"
            )
            stdout = self._process.stdout
            self._lines = None if stdout is None else BufferedByteReceiveStream(stdout)
        if not self._ready:
            said = await self._line()
            if not isinstance(said.get("ready"), str):
                raise ValueError(str(said.get("failed") or "it did not start"))
            self._ready = str(said["ready"])

    async def _ask(self, text: str, direction: Direction, source: str) -> ScanReport:
        if self._process is None or self._process.stdin is None:
            message = "it has no input"
            raise ValueError(message)
        self._asked += 1
        asked: dict[str, Json] = {
            "id": self._asked,
            "text": text,
            "direction": direction.value,
            "source": source,
        }
        await self._process.stdin.send(encode(asked) + b"\n")
        said = await self._line()
        if said.get("id") != self._asked:
            message = "it answered something else"
            raise ValueError(message)
        missing = said.get("missing")
        if isinstance(missing, str):
            return ScanReport(missing=plain_text(missing[:300]))
        return read_answer(encode({"findings": said.get("findings", [])}), len(text))

    async def _line(self) -> dict[str, Json]:
        if self._lines is None:
            message = "it has no output"
            raise ValueError(message)
        said = decode(await self._lines.receive_until(b"\n", LINE_MAX_BYTES))
        if not isinstance(said, dict):
            return {"failed": "it said something that is no object"}
        return said

    async def _stop(self) -> None:
        process, self._process, self._lines, self._ready = self._process, None, None, ""
        if process is None:
            return
        with anyio.CancelScope(shield=True), suppress(ProcessLookupError):
            process.kill()
            with anyio.move_on_after(END_S):
                await process.aclose()

    async def aclose(self) -> None:
        """End the process."""
        await self._stop()


class LlamaFirewallScanner(LlmGuardScanner):
    """LlamaFirewall: its scanners by the names of `ScannerType`."""

    KIND = "llamafirewall"


class NemoScanner(LlmGuardScanner):
    """NeMo Guardrails: the rails of a folder."""

    KIND = "nemo"
    NEEDS = "config"
