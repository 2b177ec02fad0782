"""A component that does what its first letter says, and a driver to run it; tests that need wasmtime skip by name."""

from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from hive.core.grant import Grant, Limits
from hive.core.ids import AgentId
from hive.core.spec import AgentSpec, EntryPoint, StartKind
from hive.execution.components import Components
from hive.execution.drivers.process import ProcessDriver
from hive.execution.drivers.wasm import WasmDriver
from hive.execution.ports import Prepared
from hive.testing.sandbox_suite import SMALL, make_opening, make_turn

needs_wasmtime = pytest.mark.skipif(
    find_spec("wasmtime") is None, reason="wasmtime is not installed (pip install 'hive-os[wasm]')"
)
WORLD = """
(component
  {imports}
  (type $said' (record (field "role" string) (field "text" string)))
  (import "said" (type $said (eq $said')))
  (type $turn' (record
    (field "id" string) (field "task" string) (field "context" string) (field "text" string)
    (field "message" string) (field "history" (list $said)) (field "timeout-ms" u64)))
  (import "turn" (type $turn (eq $turn')))
  (type $outcome' (variant (case "done" string) (case "ask" string)))
  (import "outcome" (type $outcome (eq $outcome')))
  (import "hive:agent/reply@0.1.0" (instance $reply (export "chunk" (func (param "text" string)))))
  (core module $memory
    (memory (export "memory") 1)
    (global $next (mut i32) (i32.const 4096))
    (func (export "realloc") (param i32 i32 i32) (param $new i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (global.set $next (i32.add (local.get $at) (local.get $new)))
      (if (i32.gt_u (global.get $next) (i32.mul (memory.size) (i32.const 65536)))
        (then (drop (memory.grow (i32.add (i32.const 1) (i32.div_u (local.get $new) (i32.const 65536)))))))
      (local.get $at)))
  (core instance $m (instantiate $memory))
  (core func $chunk (canon lower (func $reply "chunk") (memory (core memory $m "memory")) string-encoding=utf8))
  (core module $code
    (import "m" "memory" (memory 1))
    (import "host" "chunk" (func $chunk (param i32 i32)))
    (data (i32.const 16) "0")
    (data (i32.const 17) "full")
    (data (i32.const 21) "flood ")
    (func $deep (param i32) (result i32) (i32.add (i32.const 1) (call $deep (i32.add (local.get 0) (i32.const 1)))))
    (func $say (param $kind i32) (param $case i32) (param $at i32) (param $length i32) (result i32)
      (i32.store8 (i32.const 32) (local.get $kind))
      (i32.store8 (i32.const 36) (local.get $case))
      (if (result i32) (local.get $kind)
        (then (i32.store (i32.const 36) (local.get $at)) (i32.store (i32.const 40) (local.get $length)) (i32.const 32))
        (else (i32.store (i32.const 40) (local.get $at)) (i32.store (i32.const 44) (local.get $length)) (i32.const 32))))
    (func (export "handle")
      (param i32 i32 i32 i32 i32 i32) (param $text i32) (param $length i32)
      (param i32 i32 i32 i32) (param i64) (result i32)
      (local $letter i32)
      (local.set $letter (i32.load8_u (local.get $text)))
      (if (i32.eq (local.get $letter) (i32.const 108)) (then (loop $ever (br $ever))))
      (if (i32.eq (local.get $letter) (i32.const 109))
        (then (loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
          (return (call $say (i32.const 0) (i32.const 0) (i32.const 17) (i32.const 4)))))
      (if (i32.eq (local.get $letter) (i32.const 102))
        (then (loop $flood (call $chunk (i32.const 21) (i32.const 6)) (br $flood))))
      (if (i32.eq (local.get $letter) (i32.const 115)) (then (drop (call $deep (i32.const 0)))))
      (if (i32.eq (local.get $letter) (i32.const 116)) (then unreachable))
      (if (i32.eq (local.get $letter) (i32.const 97))
        (then (return (call $say (i32.const 0) (i32.const 1) (local.get $text) (local.get $length)))))
      (if (i32.eq (local.get $letter) (i32.const 101))
        (then (return (call $say (i32.const 1) (i32.const 0) (local.get $text) (local.get $length)))))
      (if (i32.eq (local.get $letter) (i32.const 99))
        (then (i32.store8 (i32.const 16) (i32.add (i32.const 1) (i32.load8_u (i32.const 16))))
          (return (call $say (i32.const 0) (i32.const 0) (i32.const 16) (i32.const 1)))))
      (call $say (i32.const 0) (i32.const 0) (local.get $text) (local.get $length))))
  (core instance $c (instantiate $code
    (with "m" (instance $m))
    (with "host" (instance (export "chunk" (func $chunk))))))
  (func (export "handle") (param "turn" $turn) (result (result $outcome (error string)))
    (canon lift (core func $c "handle") (memory (core memory $m "memory")) (realloc (core func $m "realloc"))
      string-encoding=utf8)))
"""


async def compiled(folder: Path, imports: str = "") -> Prepared:
    """Compile the component into a folder."""
    source = folder / "letters.wasm"
    source.write_text(WORLD.replace("{imports}", imports))
    async with ProcessDriver() as walls:
        made = await Components(folder / "state", walls).ensure(source, on_line=print)
    return prepared_of(made)


def prepared_of(made: Path, name: str = "letters") -> Prepared:
    entry = EntryPoint(kind=StartKind.COMPONENT, path="letters.wasm")
    spec = AgentSpec(name=AgentId(name), entry=entry)
    return Prepared(spec=spec, argv=(str(made),), reads=(), digest=made.stem)


@asynccontextmanager
async def instance_of(driver: WasmDriver, prepared: Prepared, folder: Path, name="one", **limits):
    """Spawn an instance and wait until it is there."""
    given = Grant(limits=Limits(**limits) if limits else SMALL)
    async with driver.spawn(prepared, given, make_opening(folder, sandbox_id=name)) as sandbox:
        await sandbox.ready(20)
        yield sandbox


async def events_of(sandbox, text, *, turn_id="turn-1", timeout_s=10.0):
    """Run one turn and return all that came of it."""
    turn = make_turn(text, turn_id=turn_id, timeout_s=timeout_s)
    return [event async for event in sandbox.run_turn(turn)]
