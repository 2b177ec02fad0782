"""Attack: a tool server outlives the node that started it, or what its launch was meant to end."""

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import anyio
import psutil
import pytest

from hive.testing.server_shop import ALICE, open_server_shop
from tests.attacks.stdio_servers import WAIT_S, hostile, read_line

pytestmark = pytest.mark.anyio

BODY = """
import os, signal
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        break
else:
    os.write(1, b"ready\\n")
while True:
    signal.pause()
"""
NODE = """
import json, sys, anyio, psutil
from pathlib import Path
from hive.testing.server_shop import ALICE, open_server_shop
from tests.attacks.stdio_servers import hostile, read_line

async def main(folder, body):
    async with open_server_shop(folder) as shop:
        async with shop.launcher.launch(hostile(folder, body), ALICE, "one") as streams:
            await read_line(streams)
            family = psutil.Process().children(recursive=True)
            print(json.dumps([process.pid for process in family]), flush=True)
            await anyio.sleep_forever()

anyio.run(main, Path(sys.argv[1]), sys.argv[2])
"""
NAIVE = """
import json, subprocess, sys, psutil, signal
server = subprocess.Popen([sys.executable, "-c", sys.argv[2]], stdin=-1, stdout=-1)
server.stdout.readline()
family = psutil.Process().children(recursive=True)
print(json.dumps([process.pid for process in family]), flush=True)
signal.pause()
"""


def alive(handles: Sequence[psutil.Process]) -> list[int]:
    return [one.pid for one in handles if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("walled", [True, False])
def test_a_server_that_ignores_every_signal_dies_with_the_node(
    tmp_path: Path, *, walled: bool
) -> None:
    command = [sys.executable, "-c", NODE if walled else NAIVE, str(tmp_path), BODY]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path.cwd()) as node:
        assert node.stdout is not None
        handles = [psutil.Process(pid) for pid in json.loads(node.stdout.readline())]
        assert len(handles) >= 4
        node.send_signal(signal.SIGKILL)
        node.wait(WAIT_S)
        if walled:
            psutil.wait_procs(handles, timeout=WAIT_S)
            assert alive(handles) == []
            return
        try:
            assert len(alive(handles)) == 4
        finally:
            for one in handles:
                one.kill()


async def test_leaving_ends_a_server_and_all_that_it_started(tmp_path: Path) -> None:
    async with open_server_shop(tmp_path) as shop:
        with anyio.fail_after(WAIT_S):
            async with shop.launcher.launch(hostile(tmp_path, BODY), ALICE, "one") as streams:
                await read_line(streams)
                first = psutil.Process(streams.pid)
                family = [first, *first.children(recursive=True)]
                assert len(family) == 5
        psutil.wait_procs(family, timeout=WAIT_S)
        assert alive(family) == []


async def test_a_killed_server_is_told_and_its_streams_end(tmp_path: Path) -> None:
    async with open_server_shop(tmp_path) as shop:
        with anyio.fail_after(WAIT_S):
            async with shop.launcher.launch(hostile(tmp_path, BODY), ALICE, "one") as streams:
                await read_line(streams)
                streams.kill("An operator ended it.")
                assert await streams.wait_dead() == "An operator ended it."
                with pytest.raises(anyio.EndOfStream):
                    await streams.receive()
