"""Somebody who can write into the folder of compiled components puts machine code of his own there."""

import shutil

import pytest

from hive.execution import components
from hive.execution.components import Components
from hive.execution.drivers.process import ProcessDriver
from hive.execution.drivers.wasm import WasmDriver
from hive.testing.sandbox_suite import answer_of
from tests.wasm_rig import WORLD, compiled, events_of, instance_of, needs_wasmtime, prepared_of

pytestmark = [pytest.mark.anyio, needs_wasmtime]


@pytest.fixture
async def cache(tmp_path, anyio_backend):
    """Two compiled components: a victim's, and a thief's that answers "stolen" to everything."""
    victim = await compiled(tmp_path)
    source = tmp_path / "letters.wasm"
    thief = tmp_path / "thief.wasm"
    said = '(data (i32.const 16) "stolen")'
    answer = "(call $say (i32.const 0) (i32.const 0) (i32.const 16) (i32.const 6))"
    text = WORLD.replace("{imports}", "").replace('(data (i32.const 16) "0")', said)
    text = text.replace('(data (i32.const 17) "full")', "").replace(
        '(data (i32.const 21) "flood ")', ""
    )
    text = text.replace("(local.set $letter (i32.load8_u (local.get $text)))", f"(return {answer})")
    thief.write_text(text)
    async with ProcessDriver() as walls:
        store = Components(tmp_path / "state", walls)
        stolen = await store.ensure(thief, on_line=print)
        yield store, source, victim.argv[0], stolen


async def said_by(tmp_path, path):
    async with WasmDriver() as driver, instance_of(driver, prepared_of(path), tmp_path) as one:
        return answer_of(await events_of(one, "hello"))


def put(source, target):
    target.chmod(0o644)
    shutil.copyfile(source, target)


async def test_a_swapped_file_is_compiled_again(cache, tmp_path):
    from pathlib import Path

    store, source, place, stolen = cache
    put(stolen, Path(place))
    lines = []
    again = await store.ensure(source, on_line=lines.append)
    assert lines, "it was compiled again"
    assert await said_by(tmp_path, again) == "hello"


async def test_without_the_mark_the_thiefs_code_would_run(cache, tmp_path, monkeypatch):
    from pathlib import Path

    store, source, place, stolen = cache
    put(stolen, Path(place))
    monkeypatch.setattr(components.hmac, "compare_digest", lambda _ours, _theirs: True)
    assert await said_by(tmp_path, await store.ensure(source, on_line=print)) == "stolen"


async def test_a_swapped_file_with_its_own_mark_is_compiled_again(cache, tmp_path):
    """A mark tells what it is the compilation of: that of the thief's own component does not fit."""
    from pathlib import Path

    store, source, place, stolen = cache
    put(stolen, Path(place))
    put(stolen.with_suffix(".mark"), Path(place).with_suffix(".mark"))
    lines = []
    await store.ensure(source, on_line=lines.append)
    assert lines


async def test_a_changed_byte_anywhere_is_compiled_again(cache, tmp_path):
    from pathlib import Path

    store, source, place, _ = cache
    whole = Path(place).read_bytes()
    for at in (0, len(whole) // 2, len(whole) - 1):
        Path(place).chmod(0o644)
        Path(place).write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        lines = []
        await store.ensure(source, on_line=lines.append)
        assert lines, at


async def test_what_another_node_compiled_is_compiled_again(cache, tmp_path):
    """Another node has another key."""
    store, source, _, _ = cache
    (tmp_path / "state" / "components" / "key").unlink()
    lines = []
    await store.ensure(source, on_line=lines.append)
    assert lines


async def test_a_half_written_file_is_compiled_again(cache, tmp_path):
    from pathlib import Path

    store, source, place, _ = cache
    whole = Path(place).read_bytes()
    Path(place).chmod(0o644)
    Path(place).write_bytes(whole[: len(whole) // 2])
    lines = []
    again = await store.ensure(source, on_line=lines.append)
    assert lines
    assert again.read_bytes() == whole or again.stat().st_size > 0


async def test_what_was_kept_is_used_again(cache):
    store, source, place, _ = cache
    lines = []
    assert str(await store.ensure(source, on_line=lines.append)) == str(place)
    assert not lines
