"""Host processes of the wasm tier: walled like any process, one component each, started before they are needed.

A host holds no key of the node's. What it knows of an instance are two sockets in its folder and the handle of that sandbox;
instances of another agent are in another process.
"""

import asyncio
import contextlib
import json
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import anyio
from anyio import to_thread

from hive.core.clock import Clock
from hive.core.errors import SandboxError
from hive.core.grant import Grant, Limits
from hive.core.ids import SandboxId
from hive.execution.components import Runtime
from hive.execution.drivers.process import ProcessDriver, interpreter_reads
from hive.execution.drivers.process_mounts import granted_mounts
from hive.execution.guest_channel import GuestChannel
from hive.execution.guest_frames import ERROR_MAX_CHARS, clean
from hive.execution.launcher_sandbox import LaunchedSandbox
from hive.execution.ports import Opening
from hive.execution.turn_line import SocketReader
from hive.execution.walls.mounts import gate_mount
from hive.execution.walls.plan import GATE_INSIDE
from hive_guest import environment as guest

HOST_BASE_BYTES: Final = 512 << 20
HOST_FILES_MAX: Final = 8192
HOST_CPU_S: Final = 30 * 24 * 3600
WARM_TIMEOUT_S: Final = 30.0
LOAD_TIMEOUT_S: Final = 30.0
CLOSE_GRACE_S: Final = 1.0
FRAME_MAX_BYTES: Final = 8 << 20
COMPONENT: Final = "component.cwasm"
_SOCKETS: Final = ("gate", "egress")
_HEAD_BYTES: Final = 8


class ComponentHost:
    """One host process as the node sees it: frames in both directions, and which instances it has."""

    def __init__(self, launched: LaunchedSandbox, folder: Path) -> None:
        self.launched = launched
        self.folder = folder
        self.seats: dict[int, HostSeat] = {}
        self.warm = anyio.Event()
        self.loaded = anyio.Event()
        self.unusable = ""
        self.gone = False
        self._next = 0
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()

    async def attach(self) -> None:
        """Read and write the socket that the launcher made."""
        sock = self.launched.turn_socket.dup()
        sock.settimeout(0)
        self._transport, _ = await self._loop.create_unix_connection(
            lambda: SocketReader(self), sock=sock
        )

    async def load(self, compiled: Path, *, wasi: bool = False) -> None:
        """Give it its component.

        Raises:
            SandboxError: it does not load, or the host died.

        """
        place = self.folder / COMPONENT
        try:
            os.link(compiled, place)
        except OSError:
            shutil.copyfile(compiled, place)
        self.send(0, {"type": "load", "path": f"{GATE_INSIDE}/{COMPONENT}", "wasi": wasi})
        with anyio.move_on_after(LOAD_TIMEOUT_S):
            await self.loaded.wait()
        if self.unusable or not self.loaded.is_set():
            raise SandboxError(
                "The component cannot be loaded.",
                why=self.unusable or f"It took more than {LOAD_TIMEOUT_S:g} s.",
            )

    def take_seat(self, channel: GuestChannel) -> "HostSeat":
        """Give an instance its number."""
        self._next += 1
        seat = self.seats[self._next] = HostSeat(self, self._next, channel)
        return seat

    def send(self, number: int, frame: dict[str, object]) -> None:
        """Send a frame to an instance; 0 is the host itself."""
        self.write(number, json.dumps(frame).encode())

    def write(self, number: int, body: bytes) -> None:
        """Send the bytes of a frame."""
        if self._transport is not None and not self._transport.is_closing():
            head = len(body).to_bytes(4, "big") + number.to_bytes(4, "big")
            self._transport.write(head + body)

    def kill(self, reason: str) -> None:
        """Kill the process with all instances; may be called from any thread."""
        self.launched.kill(reason)

    def close(self) -> None:
        """Close the socket."""
        if self._transport is not None:
            self._transport.abort()

    def receive(self, data: bytes) -> None:
        """Take bytes from the socket; called by the event loop."""
        self._buffer += data
        while len(self._buffer) >= _HEAD_BYTES:
            size = int.from_bytes(self._buffer[:4], "big")
            if size > FRAME_MAX_BYTES:
                self.kill("Its host process broke the protocol: a frame is too large.")
                return
            if len(self._buffer) < _HEAD_BYTES + size:
                return
            number = int.from_bytes(self._buffer[4:_HEAD_BYTES], "big")
            body = bytes(self._buffer[_HEAD_BYTES : _HEAD_BYTES + size])
            del self._buffer[: _HEAD_BYTES + size]
            self._take(number, body)

    def _take(self, number: int, body: bytes) -> None:
        seat = self.seats.get(number)
        if number == 0:
            self._hear(body)
        elif seat is not None and body.startswith(b'{"type":"closed"'):
            seat.ended(_reason(body))
        elif seat is not None:
            seat.channel.take(body)

    def _hear(self, body: bytes) -> None:
        """Take what the host says of itself."""
        try:
            frame = json.loads(body)
            kind = frame["type"]
        except (ValueError, KeyError, TypeError):
            self.kill("Its host process broke the protocol.")
            return
        if kind == "warm":
            self.warm.set()
        elif kind == "loaded":
            self.loaded.set()
        elif kind == "unusable":
            self.unusable = (
                clean(str(frame.get("error", "")), ERROR_MAX_CHARS) or "It cannot be used."
            )
            self.loaded.set()

    def lost(self, error: Exception | None) -> None:
        """Take note that the socket is closed: every instance is gone."""
        self.gone = True
        self.unusable = self.unusable or "Its host process died."
        self.warm.set()
        self.loaded.set()
        for seat in tuple(self.seats.values()):
            seat.channel.lost(error)
            seat.ended("Its host process died.")


def _reason(body: bytes) -> str:
    try:
        return clean(str(json.loads(body)["reason"]), ERROR_MAX_CHARS)
    except (ValueError, KeyError, TypeError):
        return "Its host process broke the protocol."


class HostSeat:
    """One instance's share of its host's socket (a `TurnLine`), from its number to its end."""

    def __init__(self, host: ComponentHost, number: int, channel: GuestChannel) -> None:
        self.host = host
        self.number = number
        self.channel = channel
        self.dead = anyio.Event()
        self.reason = ""
        self._closing = False
        self._loop = asyncio.get_running_loop()

    def write(self, data: bytes) -> None:
        """Send a frame; the length in front of it is written anew."""
        self.host.write(self.number, data[4:])

    def pause_reading(self) -> None:
        """Let the instance wait before it says more."""
        self.host.send(self.number, {"type": "pause"})

    def resume_reading(self) -> None:
        """Let it go on."""
        self.host.send(self.number, {"type": "resume"})

    def is_closing(self) -> bool:
        """Tell whether it is closed."""
        return self._closing

    def abort(self) -> None:
        """Close the instance; a host that does not say so in time dies with all of them."""
        if self._closing:
            return
        self._closing = True
        self.host.send(self.number, {"type": "close"})
        self._loop.call_later(CLOSE_GRACE_S, self._overdue)

    def kill(self, reason: str) -> None:
        """End it; may be called from any thread, more than once."""
        self.reason = self.reason or reason or "killed"
        self._loop.call_soon_threadsafe(self._end)

    def ended(self, reason: str) -> None:
        """Take note that it is gone."""
        self.reason = self.reason or reason or "it was closed"
        self._closing = True
        self.host.seats.pop(self.number, None)
        if not self.dead.is_set():
            self.dead.set()
            self.channel.lost(None)

    def _end(self) -> None:
        self.channel.close()
        self.abort()

    def _overdue(self) -> None:
        if not self.dead.is_set():
            self.host.kill("An instance in it did not end when it was told to.")


def seated(host: ComponentHost, opening: Opening, limits: Limits, clock: Clock) -> HostSeat:
    """Open an instance in a host: its sockets are linked into the host's folder under its number."""
    channel = GuestChannel(None, on_broken=lambda error: seat.kill(str(error)), clock=clock)
    seat = host.take_seat(channel)
    channel.attach(seat)
    for name in _SOCKETS:
        with contextlib.suppress(FileNotFoundError):
            os.link(f"{opening.gate_directory}/{name}.sock", f"{host.folder}/{seat.number}.{name}")
    places = [f"{GATE_INSIDE}/{seat.number}.{name}" for name in _SOCKETS]
    host.send(
        seat.number,
        {
            "type": "open",
            "places": [*places, opening.environment.get(guest.HANDLE_VARIABLE, "")],
            "memory_bytes": limits.memory_bytes,
            "cpu_s": limits.cpu_s,
        },
    )
    # The host has tried the component when it loaded it: nobody waits for this one to say that it is there.
    channel.take(_HELLO)
    return seat


_HELLO: Final = b'{"type":"hello","v":1,"shape":"component","streams":true}'


def remove_links(folder: Path, number: int) -> None:
    """Take an instance's sockets out of its host's folder."""
    for name in _SOCKETS:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{folder}/{number}.{name}")  # noqa: PTH108 - on the way of every instance


class HostLauncher(ProcessDriver):
    """Starts host processes behind the walls of the process tier."""

    @asynccontextmanager
    async def host(
        self,
        runtime: Runtime,
        folder: Path,
        *,
        memory_bytes: int,
        on_line: Callable[[str], None],
    ) -> AsyncIterator[ComponentHost]:
        """Start a host and wait until it is warm; leaving the context kills it and removes its folder.

        Raises:
            TierUnavailableError: a demanded wall cannot be built.
            SandboxError: it did not start.

        """
        await to_thread.run_sync(partial(folder.mkdir, mode=0o711))
        argv = runtime.argv("host")
        plan = self._plan(
            f"wasm-{secrets.token_hex(6)}",
            argv,
            environment={},
            mounts=[gate_mount(str(folder)), *granted_mounts(runtime.mounts)],
            reads=interpreter_reads(argv[0]),
            limits=Limits(
                memory_bytes=HOST_BASE_BYTES + 2 * memory_bytes,
                files_max=HOST_FILES_MAX,
                cpu_s=HOST_CPU_S,
            ),
        )._replace(routes={})
        guard = None
        if self.guarding is not None:
            guard = self.guarding.guard_for(SandboxId(plan.name), Grant())
        try:
            async with self._launch(plan, on_line, guard) as launched:
                host = ComponentHost(launched, folder)
                await host.attach()
                try:
                    with anyio.move_on_after(WARM_TIMEOUT_S):
                        await host.warm.wait()
                    if host.unusable or not host.warm.is_set():
                        raise SandboxError(
                            "The host process of the wasm tier did not start.",
                            why=f"It printed last:{launched.printed or ' nothing'}",
                        )
                    yield host
                finally:
                    host.close()
        finally:
            shutil.rmtree(folder, ignore_errors=True)
