"""An agent that tries every way to a file and to a host, and tells how each ended."""

import json
import os
import socket
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from hive_guest.tools import ToolCallError, use


def reaching(text: str) -> str:
    """Try what the message names: files and hosts, the granted and the other one."""
    asked = json.loads(text)
    told: dict[str, str] = {}
    for which in ("granted", "other"):
        path, host = asked[f"{which}_path"], asked[f"{which}_host"]
        told[f"{which} path by tool"] = tried(lambda path=path: by_tool(path))
        told[f"{which} path by open"] = tried(Path(path).read_text)
        told[f"{which} host by proxy"] = tried(lambda host=host: by_proxy(host))
        told[f"{which} host by socket"] = tried(lambda host=host: by_socket(host))
    return json.dumps(told)


def tried(way: Callable[[], str]) -> str:
    try:
        return f"PASSED {way()}"
    except (OSError, ToolCallError) as error:
        code = getattr(error, "code", "")
        return f"REFUSED {code} {error}"


def by_tool(path: str) -> str:
    return str(use("shelf__read", path=path)["result"])


def by_proxy(host: str) -> str:
    for name in (
        "no_proxy",
        "NO_PROXY",
    ):  # else Python would not ask the door for a loopback address
        os.environ.pop(name, None)
    with urllib.request.urlopen(f"http://{host}/", timeout=20) as answer:
        return str(answer.read().decode())


def by_socket(host: str) -> str:
    name, _, port = host.rpartition(":")
    with socket.create_connection((name, int(port)), timeout=5):
        return "connected"
