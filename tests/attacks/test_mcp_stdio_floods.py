"""Attack: a tool server writes without end, never reads, or eats the machine; the node neither grows nor waits."""

import subprocess
from pathlib import Path

import anyio
import psutil
import pytest

from hive.core.errors import TooLargeError
from hive.core.grant import Limits
from hive.execution.drivers.process import ProcessDriver
from hive.execution.drivers.process_streams import UNREAD_MAX_BYTES
from hive.execution.ports import WalledCommand
from hive.testing.server_shop import ALICE, open_server_shop
from tests.attacks.stdio_servers import SMALL, WAIT_S, driver, hostile, read_line

pytestmark = pytest.mark.anyio

MIB = 1 << 20
FLOOD = """
import os, sys
os.set_blocking(1, False)
sent, full = 0, 0
while full < 50:
    try:
        sent += os.write(1, b"x" * 65536)
        full = 0
    except BlockingIOError:
        full += 1
        import time
        time.sleep(0.002)
    if sent > 64 << 20:
        break
print(sent, file=sys.stderr, flush=True)
"""
DEAF = "import signal\nprint('ready', flush=True)\nwhile True:\n    signal.pause()\n"
NOISE = """
import sys
for count in range(200_000):
    print("noise", count, file=sys.stderr)
print("done", flush=True)
sys.stdin.read()
"""
GLUTTON = """
import os
for _ in range(4):
    if os.fork() == 0:
        break
kept = []
while True:
    kept.append(bytearray(os.urandom(1 << 20)))
"""
FORKS = """
import os, sys, time
made = 0
try:
    for _ in range(1000):
        if os.fork() == 0:
            time.sleep(60)
        made += 1
except OSError:
    pass
print(made, flush=True)
time.sleep(60)
"""


async def send_without_end(streams: WalledCommand, sent: list[int]) -> None:
    while True:
        await streams.send(b"x" * MIB)
        sent.append(MIB)


async def test_what_nobody_reads_stays_with_the_server(tmp_path: Path) -> None:
    before = psutil.Process().memory_info().rss
    spec = hostile(tmp_path, FLOOD)
    async with open_server_shop(tmp_path) as shop:
        with anyio.fail_after(WAIT_S):
            async with shop.launcher.launch(spec, ALICE, "one") as streams:
                await streams.wait_dead()
    assert int(shop.lines[0][1]) <= MIB
    assert psutil.Process().memory_info().rss - before < 16 * MIB
    # Whoever reads all that comes holds all that comes:
    naive = subprocess.run(spec.argv, input=b"", capture_output=True, check=True, timeout=30)
    assert len(naive.stdout) > 64 * MIB


async def test_a_server_that_never_reads_stops_its_caller_and_then_dies(tmp_path: Path) -> None:
    async with open_server_shop(tmp_path, driver=ProcessDriver(stalled_timeout_s=2.0)) as shop:
        with anyio.fail_after(WAIT_S):
            async with shop.launcher.launch(hostile(tmp_path, DEAF), ALICE, "one") as streams:
                assert await read_line(streams) == "ready"
                sent: list[int] = []
                with pytest.raises(anyio.BrokenResourceError):
                    await send_without_end(streams, sent)
                assert sum(sent) <= UNREAD_MAX_BYTES + MIB
                assert "did not read its input for 2 s" in await streams.wait_dead()


async def test_a_cancelled_caller_leaves_no_half_message(tmp_path: Path) -> None:
    echo = "import sys\nsys.stdin.readline()\nprint(len(sys.stdin.read()), flush=True)\n"
    async with open_server_shop(tmp_path) as shop:
        with anyio.fail_after(WAIT_S):
            async with shop.launcher.launch(hostile(tmp_path, DEAF), ALICE, "one") as streams:
                await read_line(streams)
                whole = 0
                for _ in range(12):
                    with anyio.move_on_after(0.1) as patience:
                        await streams.send(b"y" * MIB)
                    whole += not patience.cancelled_caught
                assert UNREAD_MAX_BYTES // MIB <= whole <= UNREAD_MAX_BYTES // MIB + 1
            async with shop.launcher.launch(hostile(tmp_path, echo), ALICE, "two") as streams:
                await streams.send(b"begin\n")
                for _ in range(20):
                    await streams.send(b"z" * MIB)
                await streams.send_eof()
                assert await read_line(streams) == str(20 * MIB)


async def test_a_message_that_can_never_wait_is_refused(tmp_path: Path) -> None:
    async with open_server_shop(tmp_path) as shop:
        with anyio.fail_after(WAIT_S):
            async with shop.launcher.launch(hostile(tmp_path, DEAF), ALICE, "one") as streams:
                with pytest.raises(TooLargeError):
                    await streams.send(b"x" * (UNREAD_MAX_BYTES + 1))


async def test_lines_of_standard_error_are_dropped_over_a_rate(tmp_path: Path) -> None:
    async with open_server_shop(tmp_path) as shop:
        with anyio.fail_after(WAIT_S):
            async with shop.launcher.launch(hostile(tmp_path, NOISE), ALICE, "one") as streams:
                assert await read_line(streams) == "done"
    assert 100 < len(shop.lines) < 20_000


@pytest.mark.parametrize("walled", [True, False])
async def test_a_fork_bomb_stops_at_its_limit(tmp_path: Path, *, walled: bool) -> None:
    spec = hostile(tmp_path, FORKS, limits=Limits(processes_max=32, memory_bytes=256 * MIB))
    async with open_server_shop(tmp_path, driver=driver(walled=walled)) as shop:
        with anyio.fail_after(WAIT_S):
            async with shop.launcher.launch(spec, ALICE, "one") as streams:
                made = int(await read_line(streams))
    assert made <= 32 if walled else made == 1000


async def test_a_server_that_eats_memory_is_killed_and_its_caller_told(tmp_path: Path) -> None:
    async with open_server_shop(tmp_path) as shop:
        with anyio.fail_after(WAIT_S):
            async with shop.launcher.launch(
                hostile(tmp_path, GLUTTON, limits=SMALL), ALICE, "one"
            ) as streams:
                reason = await streams.wait_dead()
    assert "memory" in reason or "killed" in reason
