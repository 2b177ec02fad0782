"""One component in a sandbox of its own, in a tier that has files: what its grant names is there by WASI, nothing else.

`... COMPILED [PATH ro|rw]...`, with the doors of every sandbox at their places and the turn socket of every guest.
"""

from __future__ import annotations

import os
import socket
import threading
from typing import TYPE_CHECKING, Any, Final

import wasmtime
from wasmtime import component as components

from hive.execution.component.engine import make_engine
from hive.execution.component.imports import Places
from hive.execution.component.instance import (
    LiveComponent,
    StoppedError,
    UnusableComponentError,
    World,
)
from hive.execution.component.pace import Ticker, Turnstile
from hive_guest.frames import ConnectionEndedError, FrameError, TurnSocket

if TYPE_CHECKING:
    from collections.abc import Sequence

GATE: Final = "/run/hive/gate.sock"
EGRESS: Final = "/run/hive/egress.sock"
MEMORY_BYTES: Final = 1 << 30
CPU_S: Final = 24 * 3600


def main(arguments: list[str]) -> int:
    """Serve turns until the node closes the socket, or the component was stopped in its middle."""
    turns = TurnSocket(socket.socket(fileno=int(os.environ["HIVE_TURN_FD"])))
    engine = make_engine(pooled=False)
    slots = Turnstile(1)
    try:
        component = components.Component.deserialize_file(engine, arguments[0])
        instance = LiveComponent(
            World(engine, component, slots, wasi=True),
            places=Places(GATE, EGRESS, os.environ.get("HIVE_HANDLE", "")),
            memory_bytes=MEMORY_BYTES,
            cpu_s=CPU_S,
            write=turns.send,
            wasi=_wasi(arguments[1:]),
        )
    except (wasmtime.WasmtimeError, UnusableComponentError) as error:
        turns.send({"type": "unusable", "error": str(error)[:2000]})
        return 1
    turns.send({"type": "hello", "v": 1, "shape": "component", "streams": True})
    try:
        _serve(turns, instance, Ticker(engine), slots)
    except (ConnectionEndedError, FrameError):
        return 0
    return 0


def _serve(turns: TurnSocket, instance: LiveComponent, ticker: Ticker, slots: Turnstile) -> None:
    while True:
        frame = turns.receive()
        if frame["type"] == "turn":
            threading.Thread(target=_turn, args=(turns, instance, ticker, slots, frame)).start()
        elif frame["type"] == "cancel" and instance.imports.turn == frame["turn"]:
            instance.imports.hang_up()
            instance.stop()


def _turn(
    turns: TurnSocket,
    instance: LiveComponent,
    ticker: Ticker,
    slots: Turnstile,
    frame: dict[str, Any],
) -> None:
    try:
        with slots, ticker:
            answer = instance.run(frame)
    except StoppedError as error:
        canceled = instance.stopped
        turns.send(
            {
                "type": "failed",
                "turn": frame["turn"],
                "error": "canceled" if canceled else str(error)[:4096],
                "canceled": canceled,
            }
        )
        os._exit(1)
    turns.send(answer)


def _wasi(paths: Sequence[str]) -> wasmtime.WasiConfig:
    made = wasmtime.WasiConfig()
    made.inherit_stdout()
    made.inherit_stderr()
    for path, access in zip(paths[::2], paths[1::2], strict=True):
        made.preopen_dir(path, path, access == "rw")
    return made
