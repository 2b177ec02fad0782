"""The monitor of QEMU, spoken to by one that says too much, too little or something else."""

import json
from pathlib import Path

import anyio
import pytest
from anyio.abc import SocketStream

from hive.core.errors import SandboxError
from hive.execution.microvm.monitor import MAX_LINE_BYTES, open_monitor

GREETING = b'{"QMP": {"version": {}, "capabilities": []}}\n'
READY = b'{"return": {}, "id": 1}\n'


async def _ordered(folder: Path, *answers: bytes) -> object:
    """Return what `query-status` gives where the other side says `answers`, one after each order."""
    path = folder / "qmp"

    async def serve(stream: SocketStream) -> None:
        async with stream:
            try:
                await stream.send(answers[0])
                for answer in answers[1:]:
                    assert "execute" in json.loads(await stream.receive())
                    await stream.send(answer)
            except (anyio.BrokenResourceError, anyio.EndOfStream):
                return

    refusal: SandboxError | None = None
    answer: object = None
    listener = await anyio.create_unix_listener(path)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        try:
            async with open_monitor(path) as monitor:
                answer = await monitor.order("query-status")
        except SandboxError as problem:
            refusal = problem
        tasks.cancel_scope.cancel()
    if refusal:
        raise refusal
    return answer


@pytest.mark.anyio
async def test_an_answer_comes_after_events(tmp_path: Path) -> None:
    answer = b'{"event": "STOP"}\n{"return": {"status": "paused"}, "id": 2}\n'
    assert await _ordered(tmp_path, GREETING, READY, answer) == {"status": "paused"}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ((b"SSH-2.0-x\n",), "no JSON"),
        ((b"[]\n",), "no object"),
        ((b"{}\n",), "no monitor"),
        ((b"",), "is gone"),
        ((b'{"QMP": ',), "is gone"),
        ((GREETING, READY, b'{"return": {}, "id": 1}\n'), "not asked"),
        ((GREETING, READY, b'{"return": {}, "error": {}, "id": 2}\n'), "not asked"),
        ((GREETING, READY, b'{"id": 2}\n'), "not asked"),
        ((GREETING, READY, b'{"error": {"desc": "no such order"}, "id": 2}\n'), "no such order"),
        ((GREETING, READY, b'{"event": "X"}\n' * 1001), "without end"),
        ((GREETING, READY, b"[" * 200_000 + b"\n"), "no JSON"),
        ((GREETING, READY, b"x" * (MAX_LINE_BYTES + (1 << 17))), "too long"),
    ],
)
async def test_what_is_no_answer_ends_it(
    tmp_path: Path, answers: tuple[bytes, ...], reason: str
) -> None:
    with pytest.raises(SandboxError, match=reason):
        await _ordered(tmp_path, *answers)


@pytest.mark.anyio
async def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="cannot be reached"):
        async with open_monitor(tmp_path / "none"):
            pass
