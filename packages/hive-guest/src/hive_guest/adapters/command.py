"""Any command in any language: the message on its standard input, its standard output is the answer.

One process for each turn, in a process group of its own, so that a cancelled turn leaves nothing behind.
"""

from __future__ import annotations

import os
import select
import signal
from codecs import getincrementaldecoder
from shutil import which

from hive_guest.loading import UnusableError
from hive_guest.shapes import Answer, Failure, Loaded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Final

    from hive_guest.api import GuestTurn

READ_BYTES: Final = 64 << 10
ANSWER_MAX_CHARS: Final = 4 << 20


def load_command(argv: list[str]) -> Loaded:
    """Wrap a command.

    Raises:
        UnusableError: there is no such program.

    """
    program = which(argv[0])
    if program is None:
        raise UnusableError(
            f"There is no program {argv[0]!r} in this sandbox.",
            "Name it with its path in the source, or grant the program.",
        )

    def run(turn: GuestTurn) -> Iterator[Any]:
        return run_command(program, argv, turn)

    return Loaded("command", run, streams=True, waits=False, detail=" ".join(argv))


def run_command(program: str, argv: list[str], turn: GuestTurn) -> Iterator[Any]:
    """Run a command for one turn and yield what it prints."""
    pid, into, out = _start(program, argv, turn)
    running = True
    size_chars = 0
    decoder = getincrementaldecoder("utf-8")("replace")
    try:
        for data in _talk(into, out, turn.text.encode()):
            text = decoder.decode(data)
            size_chars += len(text)
            if size_chars > ANSWER_MAX_CHARS:
                yield Failure(f"The command printed more than {ANSWER_MAX_CHARS} characters.")
                return
            if text:
                yield text
        _, status = os.waitpid(pid, 0)
        running = False
        code = os.waitstatus_to_exitcode(status)
        if code:
            ended = f"was ended by signal {-code}" if code < 0 else f"ended with exit status {code}"
            yield Failure(f"The command {ended}.")
        elif not size_chars:
            yield Answer(None)
    finally:
        _kill_group(pid)
        if running:
            os.waitpid(pid, 0)


def _start(program: str, argv: list[str], turn: GuestTurn) -> tuple[int, int, int]:
    """Start the command; return its pid and our ends of its input and output."""
    child_in, into = os.pipe()
    out, child_out = os.pipe()
    environment = os.environ | {
        "HIVE_TASK_ID": turn.task_id,
        "HIVE_CONTEXT_ID": turn.context_id,
        "TRACEPARENT": turn.traceparent,
    }
    actions = [(os.POSIX_SPAWN_DUP2, child_in, 0), (os.POSIX_SPAWN_DUP2, child_out, 1)]
    try:
        pid = os.posix_spawn(
            program,
            argv,
            environment,
            file_actions=actions,
            setpgroup=0,
            setsigdef=[signal.SIGPIPE, signal.SIGURG],
        )
    except BaseException:
        os.close(into)
        os.close(out)
        raise
    finally:
        os.close(child_in)
        os.close(child_out)
    return pid, into, out


def _talk(into: int, out: int, given: bytes) -> Iterator[bytes]:
    """Write the message while reading the answer, so that neither side waits for the other."""
    os.set_blocking(into, False)
    poll = select.poll()
    poll.register(out, select.POLLIN)
    if given:
        poll.register(into, select.POLLOUT)
    else:
        os.close(into)
        into = -1
    try:
        while True:
            for descriptor, _ in poll.poll():
                if descriptor == out:
                    data = os.read(out, READ_BYTES)
                    if not data:
                        return
                    yield data
                    continue
                try:
                    given = given[os.write(into, given) :]
                except BrokenPipeError:  # it does not care for the rest
                    given = b""
                except BlockingIOError:
                    continue
                if not given:
                    poll.unregister(into)
                    os.close(into)
                    into = -1
    finally:
        os.close(out)
        if into >= 0:
            os.close(into)


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return
