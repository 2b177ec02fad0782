"""Run a node of whatever is installed here, deploy a function, call it over A2A; prints `reached`."""

import json
import sys
import tempfile
import urllib.request
from pathlib import Path

import anyio
import anyio.to_thread

from hive.core.settings import load_settings
from hive.node import run_node
from hive.web.ports import Console
from hive.web.values import DeployOrder

AGENT = 'def greet(text):\n    """Greet."""\n    return "Hello " + text\n'
TIMEOUT_S = 60


def send(address: str, token: str) -> str:
    """Send one message."""
    said = {"messageId": "m-1", "role": "ROLE_USER", "parts": [{"text": "Ada"}]}
    call = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": said}}
    request = urllib.request.Request(
        f"{address}/a2a/greet",
        data=json.dumps(call).encode(),
        headers={
            "authorization": f"Bearer {token}",
            "content-type": "application/json",
            "a2a-version": "1.0",
        },
    )
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(request, timeout=TIMEOUT_S) as answer:
        text: str = answer.read().decode()
        return text


async def main(settings_given: dict[str, str]) -> None:
    """Do it."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as source:
        Path(source, "greet.py").write_text(AGENT)
        settings = load_settings(settings_given, state_dir=folder, port=0, disk_floor_bytes=0)

        async def on_ready(console: Console) -> None:
            with anyio.fail_after(TIMEOUT_S):
                order = DeployOrder(source="greet.py:greet", folder=source, safe=True)
                async for _ in console.deploy(order):
                    pass
                token = Path(folder, "operator.token").read_text().strip()
                address = console.facts().doors["a2a"]
                answer = await anyio.to_thread.run_sync(send, address, token)
                verdict = await console.audit_verify()
            if "Hello Ada" in answer and verdict.ok:
                sys.stdout.write("reached\n")
            await console.shutdown()

        await run_node(settings, on_ready=on_ready)


anyio.run(
    main,
    dict(pair.split("=", 1) for pair in sys.argv[1:]),
    backend_options={"use_uvloop": True},
)
