"""Hostile tool servers on standard input and output, with the walls and without."""

from collections.abc import Sequence
from pathlib import Path

import anyio

from hive.core.grant import Grant, HostRule, Limits, PathRule
from hive.execution.drivers.process import ProcessDriver
from hive.execution.environment_python import own_interpreter
from hive.execution.ports import WalledCommand
from hive.protocols.mcp.ports import ServerSpec, TransportKind
from hive.testing.server_shop import ALICE, ServerShop

NO_LAUNCHER = "/bin/false"
WAIT_S = 30.0
SMALL = Limits(memory_bytes=256 << 20, processes_max=32, disk_bytes=16 << 20)


def driver(*, walled: bool) -> ProcessDriver:
    """Return the tier, or what runs the same server without any wall."""
    if walled:
        return ProcessDriver()
    return ProcessDriver(allow_none=True, python=NO_LAUNCHER)


def hostile(
    folder: Path,
    body: str,
    *arguments: str,
    hosts: Sequence[HostRule] = (),
    environment: dict[str, str] | None = None,
    limits: Limits = SMALL,
) -> ServerSpec:
    """Write a server and declare it; it is granted the folder that it lies in, and `hosts`."""
    place = folder / "server"
    place.mkdir(exist_ok=True)
    (place / "server.py").write_text(body)
    interpreter = own_interpreter().path
    return ServerSpec(
        name="weather",
        transport=TransportKind.STDIO,
        argv=(interpreter, "-I", "-u", str(place / "server.py"), *arguments),
        environment=environment or {},
        grant=Grant(
            paths=(PathRule(host=str(place), inside=str(place)),),
            hosts=tuple(hosts),
            limits=limits,
        ),
    )


async def told_by(shop: ServerShop, spec: ServerSpec) -> str:
    """Run a server to its end; return all that it wrote."""
    with anyio.fail_after(WAIT_S):
        async with shop.launcher.launch(spec, ALICE, "one") as streams:
            return await read_all(streams)


async def read_all(streams: WalledCommand) -> str:
    """Read until the server closes its output."""
    told = b""
    try:
        while True:
            told += await streams.receive()
    except anyio.EndOfStream:
        return told.decode()


async def read_line(streams: WalledCommand) -> str:
    """Read one line."""
    told = b""
    with anyio.fail_after(WAIT_S):
        while b"\n" not in told:
            told += await streams.receive()
    return told.decode().partition("\n")[0]
