"""Any command by standard input and output, one process for each turn."""

import os
import sys
from pathlib import Path

import anyio
import pytest

from hive.execution.ports import TurnDone, TurnFailed
from hive.testing.guest_process import a_turn, answer_of, chunks_of, open_guest, run_to_end

pytestmark = pytest.mark.anyio


@pytest.fixture
def open_command(tmp_path):
    def open_argv(*argv):
        return open_guest(["--command", "--", *argv], folder=tmp_path)

    return open_argv


async def test_a_shell_script_answers_and_streams(open_command):
    async with open_command(
        "sh", "-c", 'read line; echo "got $line"; echo "for $HIVE_TASK_ID"'
    ) as guest:
        description = await guest.channel.ready(10)
        events = await run_to_end(guest.channel, a_turn("hello\n"))
        again = await run_to_end(guest.channel, a_turn("more", number=2))

    assert description.shape == "command"
    assert "".join(chunks_of(events)) == answer_of(events) == "got hello\nfor task-1\n"
    assert answer_of(again).startswith("got more")


async def test_what_it_prints_arrives_while_it_still_runs(open_command, tmp_path):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    async with open_command("sh", "-c", f"echo early; read x < {gate}; echo late") as guest:
        await guest.channel.ready(10)
        events = guest.channel.run_turn(a_turn())
        with anyio.fail_after(30):
            first = await anext(events)
            await anyio.to_thread.run_sync(gate.write_text, "go\n")
            rest = [event async for event in events]

    assert first.text == "early\n"
    assert answer_of(rest) == "early\nlate\n"


@pytest.mark.parametrize(
    ("script", "error"),
    [("exit 3", "ended with exit status 3"), ("kill -9 $$", "was ended by signal 9")],
)
async def test_a_command_that_ends_badly_fails_its_turn(open_command, script, error):
    async with open_command("sh", "-c", script) as guest:
        await guest.channel.ready(10)
        events = await run_to_end(guest.channel, a_turn())
    assert events == [TurnFailed(error=f"The command {error}.")]


async def test_a_silent_command_is_done_without_a_message(open_command):
    async with open_command("true") as guest:
        await guest.channel.ready(10)
        assert await run_to_end(guest.channel, a_turn()) == [TurnDone(message=None)]


async def test_a_long_message_and_a_long_answer_do_not_wait_for_each_other(open_command):
    text = "é" * 500_000
    async with open_command("cat") as guest:
        await guest.channel.ready(10)
        with anyio.fail_after(30):
            events = await run_to_end(guest.channel, a_turn(text))
    assert answer_of(events) == text


async def test_an_answer_without_end_is_cut_off(open_command):
    async with open_command("yes") as guest:
        await guest.channel.ready(10)
        with anyio.fail_after(20):
            events = await run_to_end(guest.channel, a_turn())
    assert isinstance(events[-1], TurnFailed)
    assert "more than" in events[-1].error


async def test_a_cancelled_command_and_its_children_are_killed(open_command, tmp_path):
    pids = tmp_path / "pids"
    code = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen(['sleep', '60'])\n"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    async with open_command(sys.executable, "-c", code) as guest:
        await guest.channel.ready(10)
        turn = a_turn()
        events = []
        with anyio.fail_after(30):
            async for event in guest.channel.run_turn(turn):
                events.append(event)
                await guest.channel.cancel(turn.id)
        assert events[-1] == TurnFailed(error="canceled", canceled=True)
        for pid in map(int, pids.read_text().split()):
            with anyio.fail_after(30):
                while _runs(pid):
                    await anyio.lowlevel.checkpoint()


def _runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
