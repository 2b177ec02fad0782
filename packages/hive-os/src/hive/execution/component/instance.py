"""One instance of a component: its store with its limits, its imports, and the one function that it exports."""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import threading
import time
from typing import TYPE_CHECKING, Any, Final

import wasmtime
from wasmtime import _bindings as bindings
from wasmtime import _ffi as ffi
from wasmtime import component as components

from hive.execution.component.binding import Signature, record, variant
from hive.execution.component.engine import FUEL_PER_CPU_S, MEMORY_MAX_BYTES, TICK_S
from hive.execution.component.imports import HostImports, Places, ProblemError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hive.execution.component.pace import Turnstile

PACKAGE: Final = "hive:agent"
VERSION: Final = "0.1.0"
TABLE_ELEMENTS_MAX: Final = 100_000
LOOK_TICKS: Final = 10
START_TIMEOUT_S: Final = 10.0
START_CPU_S: Final = 10
RANDOM_MAX_BYTES: Final = 64 << 10
ERROR_MAX_CHARS: Final = 4096
HISTORY_MAX: Final = 1000


_CALLBACKS: Final[Any] = bindings._wasmtime_store_epoch_deadline_callback.argtypes
_NOTHING: Final = _CALLBACKS[3](0)
_instances: Final[dict[int, LiveComponent]] = {}
_keys: Final = itertools.count(1)
_running: Final = threading.local()


class UnusableComponentError(Exception):
    """The component is none of this world."""


class StoppedError(Exception):
    """The component was stopped: out of time, out of fuel, out of memory, or it trapped."""


class World:
    """One component with the functions that it gets; its instances share it."""

    def __init__(
        self,
        engine: wasmtime.Engine,
        component: components.Component,
        slots: Turnstile,
        *,
        wasi: bool = False,
    ) -> None:
        self.engine = engine
        self.slots = slots
        self.wasi = wasi
        self._component = component
        self._linker = components.Linker(engine)
        self._signature: Signature | None = None
        _define(self._linker)
        if wasi:
            self._linker.add_wasip2()

    def tried(self) -> None:
        """Make one instance and let it go, so that what does not fit is told before there is any.

        Raises:
            UnusableComponentError: it does not fit.

        """
        LiveComponent(
            self,
            places=Places("", "", ""),
            memory_bytes=MEMORY_MAX_BYTES,
            cpu_s=START_CPU_S,
            write=lambda _frame: None,
        ).close()

    def handle_of(self, store: wasmtime.Store) -> Callable[[Any], Any]:
        """Instantiate in a store and return its exported function.

        Raises:
            UnusableComponentError: it does not fit.

        """
        try:
            found = self._linker.instantiate(store, self._component)
        except wasmtime.WasmtimeError as error:
            raise UnusableComponentError(" ".join(str(error).split())[:2000]) from error
        handle = found.get_func(store, "handle")
        if handle is None:
            message = f"it does not export `handle` of the world {PACKAGE}/agent@{VERSION}"
            raise UnusableComponentError(message)
        signature = self._signature = self._signature or Signature(handle, store)
        return lambda turn: signature.call(handle, store, turn)


class LiveComponent:
    """One instance; its turns run in one thread at a time, and `stop` may be called from any."""

    def __init__(
        self,
        world: World,
        *,
        places: Places,
        memory_bytes: int,
        cpu_s: int,
        write: Callable[[dict[str, Any]], None],
        wasi: wasmtime.WasiConfig | None = None,
    ) -> None:
        self.imports = HostImports(places, write)
        self.slots = world.slots
        self._store = wasmtime.Store(world.engine)
        self._store.set_limits(
            memory_size=memory_bytes, table_elements=TABLE_ELEMENTS_MAX, memories=4, instances=64
        )
        if world.wasi:
            self._store.set_wasi(wasi or wasmtime.WasiConfig())
        self._store.set_fuel(cpu_s * FUEL_PER_CPU_S)
        self._ends_at = time.monotonic() + START_TIMEOUT_S
        self._stop = False
        self._key = next(_keys)
        _instances[self._key] = self
        ffi.wasmtime_store_epoch_deadline_callback(self._store.ptr(), _LOOK, self._key, _NOTHING)
        self._store.set_epoch_deadline(1)
        _running.instance = self
        try:
            self._handle = world.handle_of(self._store)
        except UnusableComponentError:
            self.close()
            raise

    @property
    def stopped(self) -> bool:
        """Tell whether somebody stopped it."""
        return self._stop

    def stop(self) -> None:
        """Let what runs trap soon."""
        self._stop = True

    def close(self) -> None:
        """Forget it; nothing runs in it any more."""
        _instances.pop(self._key, None)

    def over(self) -> str:
        """Tell why what runs has to end, or nothing."""
        if self._stop:
            return "it was stopped"
        return "it ran past its deadline" if time.monotonic() >= self._ends_at else ""

    def patience(self) -> int:
        """Return after how many ticks to look again: often near the deadline, seldom far from it."""
        left_s = self._ends_at - time.monotonic()
        return max(1, min(LOOK_TICKS, int(left_s / TICK_S)))

    def run(self, turn: dict[str, Any]) -> dict[str, Any]:
        """Run one turn and return the frame that ends it.

        Raises:
            StoppedError: it was stopped or trapped; the instance is spent.

        """
        self.imports.turn = turn["turn"]
        self.imports.traceparent = turn.get("traceparent", "")
        self.imports.timeout_s = float(turn["timeout_s"])
        self.imports.pieces, self.imports.pieces_chars = [], 0
        self._ends_at = turn.get("arrived_s", time.monotonic()) + float(turn["timeout_s"])
        self._stop = False
        self._store.set_epoch_deadline(1)
        _running.instance = self
        try:
            outcome = self._handle(_given(turn))
        except (wasmtime.Trap, wasmtime.WasmtimeError) as error:
            raise StoppedError(_why(error)) from error
        return _frame(turn["turn"], outcome, "".join(self.imports.pieces))


def _look(_context: Any, key: int, ticks: Any, _kind: Any) -> Any:
    """Let what runs go on for a tick, or end it (called by the engine, in the thread that runs it)."""
    instance = _instances.get(key)
    why = instance.over() if instance is not None else "it was closed"
    if instance is not None and not why:
        instance.slots.give_way()
    if why:
        return ctypes.cast(ffi.wasmtime_error_new(why.encode()), ctypes.c_void_p).value
    ticks[0] = instance.patience() if instance is not None else 1
    return 0


_LOOK: Final = _CALLBACKS[1](_look)


def _given(turn: dict[str, Any]) -> components.Record:
    said = [
        record(role="agent" if one.get("role") == "ROLE_AGENT" else "user", text=text_of(one))
        for one in turn.get("history", ())[-HISTORY_MAX:]
    ]
    return record(
        id=turn["turn"],
        task=turn["task"],
        context=turn["context"],
        text=text_of(turn["message"]),
        message=json.dumps(turn["message"], ensure_ascii=False),
        history=said,
        timeout_ms=int(float(turn["timeout_s"]) * 1000),
    )


def text_of(message: dict[str, Any]) -> str:
    """Return the texts of a message."""
    return "\n".join(part["text"] for part in message.get("parts", ()) if "text" in part)


def _frame(turn: str, outcome: Any, pieces: str) -> dict[str, Any]:
    """Write what `handle` returned: a variant is its outcome, a plain text its error.

    Where the outcome is empty, what was streamed is the answer.
    """
    if isinstance(outcome, str):
        return {"type": "failed", "turn": turn, "error": outcome[:ERROR_MAX_CHARS] or "it failed"}
    message = {"parts": [{"text": outcome.payload or pieces}]}
    kind = "need_input" if outcome.tag == "ask" else "done"
    return {"type": kind, "turn": turn, "message": message}


def _why(error: Exception) -> str:
    told = _plain(error)
    return "it used up its processor time" if told.startswith("all fuel consumed") else told


def _plain(error: Exception) -> str:
    """Return the cause of a trap, and in which function; the whole text where it is no trap."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    causes = [line.removeprefix("wasm trap: ") for line in _after(lines, "Caused by:")]
    frames = [line.split("- ", 1)[-1] for line in _after(lines, "wasm backtrace:")]
    if not causes:
        return " ".join(lines)[:2000] or type(error).__name__
    where = f" (in {frames[0].removeprefix('0: ')})" if frames and frames[0] != causes[0] else ""
    return f"{' '.join(causes)}{where}"[:2000]


def _after(lines: list[str], mark: str) -> list[str]:
    at = next((number for number, line in enumerate(lines) if line.endswith(mark)), len(lines))
    return lines[at + 1 :]


def _waiting_for(method: Callable[..., Any], *given: Any) -> Any:
    """Do what the component of this thread asks for; meanwhile another one computes."""
    with _running.instance.slots.resting():
        return method(_running.instance.imports, *given)


def _text(method: Callable[..., str]) -> Callable[..., Any]:
    def called(_store: Any, *given: str) -> Any:
        try:
            return _waiting_for(method, *given)
        except ProblemError as error:
            return record(code=error.code, text=str(error))
        except Exception as error:  # noqa: BLE001 - the binding hands it to any thread
            return record(code="failed", text=type(error).__name__)

    return called


def _whole(method: Callable[..., Any]) -> Callable[..., Any]:
    def called(_store: Any, *given: Any) -> Any:
        try:
            return variant("ok", _waiting_for(method, *given))
        except ProblemError as error:
            return variant("err", record(code=error.code, text=str(error)))
        except Exception as error:  # noqa: BLE001 - the binding hands it to any thread
            return variant("err", record(code="failed", text=type(error).__name__))

    return called


def _send(_store: Any, request: Any) -> Any:
    headers = [(one.name, one.value) for one in request.headers]
    try:
        status, told, body = _waiting_for(
            HostImports.send, request.method, request.url, headers, request.body
        )
    except ProblemError as error:
        return variant("err", record(code=error.code, text=str(error)))
    except Exception as error:  # noqa: BLE001 - the binding hands it to any thread
        return variant("err", record(code="failed", text=type(error).__name__))
    fields = [record(name=name, value=value) for name, value in told]
    return variant("ok", record(status=status, headers=fields, body=body))


def _option(value: Any) -> Any:
    return variant("none", None) if value is None else variant("some", value)


def _define(linker: components.Linker) -> None:
    """Give a component the functions of its world, and nothing of WASI.

    They are shared by all instances: whose call it is tells the thread that runs it.
    """

    functions: dict[str, dict[str, Callable[..., Any]]] = {
        "log": {"write": lambda _store, level, said: _running.instance.imports.log(level, said)},
        "system": {
            "random": lambda _store, count: os.urandom(min(count, RANDOM_MAX_BYTES)),
            "now": lambda _store: time.time_ns(),
        },
        "reply": {"chunk": lambda _store, said: _waiting_for(HostImports.chunk, said)},
        "http": {"send": _send},
        "models": {"ask": _text(HostImports.ask_model)},
        "tools": {"known": _text(HostImports.known_tools), "use-tool": _text(HostImports.use_tool)},
        "agents": {"ask": _text(HostImports.ask_agent)},
        "values": {
            "get": _whole(lambda imports, key: _option(imports.value(key))),
            "put": _whole(HostImports.put_value),
            "forget": _whole(HostImports.forget_value),
            "keys": _whole(HostImports.value_keys),
        },
        "tier": {"ask": _whole(HostImports.ask_tier)},
    }
    with linker.root() as root:
        for name, members in functions.items():
            with root.add_instance(f"{PACKAGE}/{name}@{VERSION}") as instance:
                for member, function in members.items():
                    instance.add_func(member, function)
