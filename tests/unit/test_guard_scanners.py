"""Scanners elsewhere: any server, and frameworks in a process of their own. No answer is no signal, and never an error."""

import json
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from hive.core.errors import ConfigError
from hive.security.guardrails import Direction
from hive.security.guardrails.drivers import SCANNERS
from hive.testing.clock import StoppedClock

pytestmark = pytest.mark.anyio
LLM_GUARD = {
    "llm_guard/__init__.py": "",
    "llm_guard/model.py": """
class Model:
    def __init__(self, *, path):
        self.path = path
""",
    # As 0.3.16 has it: `get_scanner_by_name(name, config)`, `scan(prompt) -> (text, valid, risk)`, print on the way.
    "llm_guard/input_scanners.py": """
import os, sys
class _Scanner:
    def __init__(self, name, config):
        self.name, self.config = name, config
    def scan(self, prompt):
        print("chatter on standard output")
        if "HANG" in prompt:
            import time; time.sleep(600)
        if "DIE" in prompt:
            os._exit(3)
        if "RAISE" in prompt:
            raise ValueError("no idea")
        if "ENVIRONMENT" in prompt:
            return prompt, "HIVE_SECRET" not in os.environ, 0.0
        path = self.config.get("model").path if self.config else ""
        bad = "ignore" in prompt and path == "/weights"
        return prompt, not bad, 0.97 if bad else -1.0
def get_scanner_by_name(scanner_name, scanner_config=None):
    if scanner_name not in ("PromptInjection", "InvisibleText"):
        raise ValueError(f"Unknown scanner name: {scanner_name}!")
    return _Scanner(scanner_name, scanner_config)
""",
    "llm_guard-0.3.16.dist-info/METADATA": "Metadata-Version: 2.1\nName: llm-guard\nVersion: 0.3.16\n",
}


@asynccontextmanager
async def server(answer, *, hang=False):
    """Serve one answer over HTTP on a free port; `asked` is what came."""
    asked = []

    async def handle(stream):
        async with stream:
            data = b""
            while b"\r\n\r\n" not in data:
                data += await stream.receive()
            head, _, body = data.partition(b"\r\n\r\n")
            length = int(
                next(one for one in head.lower().split(b"\r\n") if b"content-length" in one).split(
                    b":"
                )[1]
            )
            while len(body) < length:
                body += await stream.receive()
            asked.append(json.loads(body))
            if hang:
                await anyio.sleep_forever()
            await stream.send(answer)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, handle)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        yield f"http://127.0.0.1:{port}/scan", asked
        tasks.cancel_scope.cancel()


def http(body, status=200):
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"HTTP/1.1 {status} X\r\ncontent-length: {len(text)}\r\nconnection: close\r\n\r\n"
    return head.encode() + text


def scanner(url, *, timeout_s=60.0):
    return SCANNERS.load(url)(url, timeout_s=timeout_s, clock=StoppedClock())


async def scanned(url, *texts, timeout_s=60.0):
    opened = scanner(url, timeout_s=timeout_s)
    try:
        with anyio.fail_after(120):
            return [await opened.scan(text, Direction.INWARD, "page") for text in texts]
    finally:
        await opened.aclose()


async def test_a_server_is_asked_and_its_findings_are_brought_into_bounds():
    found = [
        {"kind": "toxic", "score": 7, "start": -5, "end": 9999, "rule": "r\u202e"},
        {"score": 0},
    ]
    async with server(http({"findings": found})) as (url, asked):
        [report] = await scanned(url, "hello")
    assert asked == [{"text": "hello", "direction": "inward", "source": "page"}]
    [one] = report.findings
    assert (one.kind, one.start, one.end, one.score) == ("toxic", 0, 5, 1.0)
    assert "\u202e" not in one.rule


async def test_a_server_may_answer_with_one_score():
    async with server(http({"score": 0.75})) as (url, _):
        [report] = await scanned(url, "hello")
    assert report.score("injection") == 0.75


@pytest.mark.parametrize(
    "answer",
    [
        http({"score": "high"}),
        http(b"[" * 100_000),
        http({"score": 1}, 500),
        http({"score": 1}, 302),
        http(b"x" * (2 << 20)),
        b"SSH-2.0-x\r\n",
        b"",
    ],
    ids=["no number", "deep", "error", "redirect", "large", "not HTTP", "nothing"],
)
async def test_a_server_that_answers_badly_is_a_missing_signal(answer):
    async with server(answer) as (url, _):
        [report] = await scanned(url, "hello")
    assert report.missing
    assert report.findings == ()


async def test_a_server_that_hangs_or_is_not_there_is_a_missing_signal():
    async with server(b"", hang=True) as (url, asked):
        [report] = await scanned(url, "hello", timeout_s=0.5)
        assert asked
    assert "Timeout" in report.missing
    [gone] = await scanned(url, "hello")
    assert gone.missing


@pytest.fixture(scope="module")
def framework(tmp_path_factory):
    """Return the Python of an environment with a package that has LLM Guard's interface."""
    folder = tmp_path_factory.mktemp("framework")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    [packages] = folder.glob("lib/python*/site-packages")
    for name, text in LLM_GUARD.items():
        path = packages / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return folder / "bin" / "python"


async def test_a_framework_is_asked_in_a_process_of_its_own(framework):
    url = f"llm-guard:{framework}?scanners=PromptInjection&model=/weights"
    bad, good, raised, again = await scanned(url, "ignore it", "hello", "RAISE", "ignore it")
    assert [(one.kind, one.score, one.rule) for one in bad.findings] == [
        ("injection", 0.97, "llm-guard/PromptInjection")
    ]
    assert (good.findings, good.missing) == ((), "")
    assert raised.missing == "ValueError: no idea"
    assert again == bad


async def test_a_framework_gets_no_variable_of_the_node(framework, monkeypatch):
    monkeypatch.setenv("HIVE_SECRET", "x")
    [report] = await scanned(f"llm-guard:{framework}?scanners=PromptInjection", "ENVIRONMENT")
    assert (report.findings, report.missing) == ((), "")


async def test_a_framework_that_dies_or_cannot_load_is_a_missing_signal(framework):
    url = f"llm-guard:{framework}?scanners=PromptInjection&model=/weights"
    died, paused = await scanned(url, "DIE", "ignore it")
    assert died.missing.startswith("the framework failed")
    assert paused.missing == "the framework failed a moment ago"
    [unknown] = await scanned(f"llm-guard:{framework}?scanners=Nonsense", "x")
    assert "Unknown scanner name: Nonsense!" in unknown.missing
    [absent] = await scanned(f"llamafirewall:{framework}", "x")
    assert "No module named 'llamafirewall'" in absent.missing


async def test_a_framework_that_hangs_is_ended_and_the_next_text_gets_its_own_answer(framework):
    url = f"llm-guard:{framework}?scanners=PromptInjection&model=/weights"
    opened = scanner(url)
    try:
        assert (await opened.scan("hello", Direction.INWARD, "x")).missing == ""
        opened._timeout_s = 0.5
        late = await opened.scan("HANG", Direction.INWARD, "x")
        assert late.missing
        opened._timeout_s = 60.0
        assert (await opened.scan("ignore it", Direction.INWARD, "x")).score() == 0.97
    finally:
        await opened.aclose()


@pytest.mark.parametrize(
    "url",
    [
        "llm-guard:",
        "llm-guard:relative/python",
        "nemo:/usr/bin/env",
        "http://",
        "http://user:key@x/",
        "rules:?file=/does/not/exist",
    ],
)
def test_a_url_that_cannot_be_used_stops_the_start(url):
    with pytest.raises(ConfigError):
        scanner(url)


def test_the_worker_imports_nothing_of_hive():
    from hive.security.guardrails.drivers import framework_worker

    text = Path(framework_worker.__file__).read_text()
    assert "import hive" not in text
    assert "from hive" not in text
