"""ContextForge as a peer: built in an environment of its own, started, and told of one server."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx

from benchmarks.ground import free_port

PACKAGE: Final = "mcp-contextforge-gateway"
START_MAX_S: Final = 300.0
LIST_MAX_S: Final = 60.0
MAIL: Final = "admin@example.com"
PASSWORD: Final = "Benchmark-Passw0rd-1234"  # noqa: S105  of a process that ends with the run
SIGNING: Final = "benchmark-signing-key-that-is-long-enough-000"


@contextmanager
def contextforge(folder: Path, upstream: str) -> Iterator[tuple[int, str, dict[str, str]]]:
    """Run it in front of one server; yield its pid, its MCP address, and what a client sends along."""
    place = _environment()
    port = free_port()
    settings = {
        **os.environ,
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "DATABASE_URL": f"sqlite:///{folder}/contextforge.db",
        "JWT_SECRET_KEY": SIGNING,
        "AUTH_ENCRYPTION_SECRET": SIGNING,
        "PLATFORM_ADMIN_EMAIL": MAIL,
        "PLATFORM_ADMIN_PASSWORD": PASSWORD,
        "DEFAULT_USER_PASSWORD": PASSWORD,
        "BASIC_AUTH_PASSWORD": PASSWORD,
        "SSRF_ALLOW_LOCALHOST": "true",
        "SSRF_ALLOW_PRIVATE_NETWORKS": "true",
        "MCPGATEWAY_UI_ENABLED": "false",
        "MCPGATEWAY_ADMIN_API_ENABLED": "false",
        "OBSERVABILITY_ENABLED": "false",
        "PLUGINS_ENABLED": "false",
        "RATE_LIMITING_ENABLED": "false",
        "LOG_LEVEL": "ERROR",
        "CACHE_TYPE": "memory",
        "REQUIRE_TOKEN_EXPIRATION": "false",
        "USE_STATEFUL_SESSIONS": "false",
        "JSON_RESPONSE_ENABLED": "true",
    }
    with (folder / "contextforge.log").open("wb") as log:
        command = [
            str(place / "bin" / "uvicorn"), "mcpgateway.main:app",
            "--host", "127.0.0.1", "--port", str(port), "--log-level", "error",
        ]  # fmt: skip
        process = subprocess.Popen(command, stdout=log, stderr=log, env=settings, cwd=folder)
    try:
        base = f"http://127.0.0.1:{port}"
        _wait(process, base, folder / "contextforge.log")
        headers = {"authorization": f"Bearer {_token(place, settings)}"}
        _register(base, headers, upstream)
        yield process.pid, f"{base}/mcp/", headers
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


def release() -> str:
    """Return which release was installed."""
    python = _environment() / "bin" / "python"
    code = f"from importlib.metadata import version; print(version('{PACKAGE}'))"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _environment() -> Path:
    place = Path(tempfile.gettempdir(), "hive-benchmarks", "contextforge")
    if not (place / "bin" / "mcpgateway").is_file():
        uv = Path(sys.executable).with_name("uv")
        subprocess.run([uv, "venv", "-q", "--clear", "-p", sys.executable, place], check=True)
        python = place / "bin" / "python"
        subprocess.run([uv, "pip", "install", "-q", "-p", python, PACKAGE], check=True)
    return place


def _wait(process: subprocess.Popen[bytes], base: str, log: Path) -> None:
    began = time.perf_counter()
    while True:
        if process.poll() is not None or time.perf_counter() - began > START_MAX_S:
            raise RuntimeError(log.read_text()[-4000:])
        try:
            if httpx.get(f"{base}/health", trust_env=False, timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.5)


def _token(place: Path, settings: dict[str, str]) -> str:
    command: list[str | Path] = [
        place / "bin" / "python", "-m", "mcpgateway.utils.create_jwt_token",
        "--username", MAIL, "--admin", "--exp", "600", "--secret", SIGNING,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=settings)
    return str(done.stdout.strip().splitlines()[-1])


def _register(base: str, headers: dict[str, str], upstream: str) -> None:
    """Tell it of the server, and wait until it lists the tool."""
    body = {"name": "echo", "url": upstream, "transport": "STREAMABLEHTTP"}
    answer = httpx.post(f"{base}/gateways", json=body, headers=headers, trust_env=False, timeout=60)
    if answer.status_code >= 300:
        raise RuntimeError(f"{answer.status_code} {answer.text[:2000]}")
    began = time.perf_counter()
    while time.perf_counter() - began < LIST_MAX_S:
        found: Any = httpx.get(f"{base}/tools", headers=headers, trust_env=False, timeout=30)
        if found.status_code == 200 and "echo" in json.dumps(found.json()):
            return
        time.sleep(0.5)
    raise RuntimeError("it lists no tool")
