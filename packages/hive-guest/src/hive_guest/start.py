"""Reads the command line, enters a folder that can be written, loads the agent and serves its turns."""

from __future__ import annotations

import _socket
import os
import sys

from hive_guest.frames import VERSION, TurnSocket
from hive_guest.loading import UnusableError, load_python
from hive_guest.turns import TurnLoop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from hive_guest.shapes import Loaded

OPTIONS: Final = ("--source", "--path", "--attribute", "--remote")
KINDS: Final = ("--command", "--a2a-command")
LINKS_MAX: Final = 512


def main(arguments: list[str]) -> int:
    """Run the guest until the node hangs up; return its exit status."""
    channel = open_channel()
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:  # a log line is worth most before a crash, and never a crash
            reconfigure(line_buffering=True, errors="backslashreplace")
    try:
        options, kind, argv = read_arguments(arguments)
        loaded = load(options, kind, argv)
    except UnusableError as error:
        channel.send({"type": "unusable", "error": error.error, "fix": error.fix})
        return 3
    try:
        channel.send(
            {
                "type": "hello",
                "v": VERSION,
                "shape": loaded.shape,
                "streams": loaded.streams,
                "detail": loaded.detail,
                "skills": loaded.skills,
            }
        )
        return TurnLoop(channel, loaded).serve()
    finally:
        if loaded.close is not None:
            loaded.close()


def open_channel() -> TurnSocket:
    """Take over the socket to the node, so that no child of the agent inherits it."""
    descriptor = int(os.environ.pop("HIVE_TURN_FD", "3"))
    os.set_inheritable(descriptor, False)  # noqa: FBT003
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, descriptor)
    sock.settimeout(None)
    return TurnSocket(sock)


def read_arguments(arguments: list[str]) -> tuple[dict[str, str], str, list[str]]:
    """Split the command line into options, kind and the command.

    Raises:
        UnusableError: it has an unknown option.

    """
    options: dict[str, str] = {}
    kind = ""
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word == "--":
            break
        if word in KINDS:
            kind = word
        elif word in OPTIONS and rest:
            options[word] = rest.pop(0)
        else:
            raise UnusableError(f"{word} is not an option of the guest.")
    return options, kind, rest


def load(options: dict[str, str], kind: str, argv: list[str]) -> Loaded:
    """Load the agent that the command line names.

    Raises:
        UnusableError: it is not there, does not load, or has no shape that is known.

    """
    source = os.path.abspath(options.get("--source") or ".")
    enter_work(source)
    if "--remote" in options:
        from hive_guest.adapters.remote import load_remote

        return load_remote(options["--remote"])
    if kind and not argv:
        raise UnusableError("No command was given.", "Write it after `--`.")
    if kind == "--command":
        from hive_guest.adapters.command import load_command

        return load_command(argv)
    if kind == "--a2a-command":
        from hive_guest.adapters.a2a_command import load_a2a_command

        return load_a2a_command(argv)
    return load_python(source, options.get("--path", ""), options.get("--attribute", ""))


def enter_work(source: str) -> None:
    """Go to a folder that can be written, where the files of the source can be read as well."""
    for folder in (os.environ.get(name) for name in ("HIVE_WORK", "HOME", "TMPDIR")):
        if folder and os.path.isdir(folder) and os.access(folder, os.W_OK):
            os.chdir(folder)
            break
    else:
        return
    if os.path.isdir(source) and os.getcwd() != source and not os.listdir():
        for name in sorted(os.listdir(source))[:LINKS_MAX]:
            if not name.startswith("."):
                os.symlink(os.path.join(source, name), name)
