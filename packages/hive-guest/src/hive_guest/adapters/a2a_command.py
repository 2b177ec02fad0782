"""Any command that serves A2A on a loopback port: started once, then each turn is passed on to it.

The port stands in the variable `PORT`, and wherever the command line says `{port}`.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import suppress
from shutil import which
from urllib.parse import urlsplit

from hive_guest.a2a_turns import PassedTurns, interface_of, skills_of
from hive_guest.a2a_wire import CARD_PATHS, A2AEndpoint, WireError, get_json
from hive_guest.loading import UnusableError
from hive_guest.shapes import Loaded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from hive_guest.parts import JsonObject

HOST: Final = "127.0.0.1"
START_TIMEOUT_S: Final = 120.0
POLL_S: Final = 0.02


def load_a2a_command(argv: list[str]) -> Loaded:
    """Start the command and wait until it shows its card.

    Raises:
        UnusableError: there is no such program, or no card came.

    """
    program = which(argv[0])
    if program is None:
        raise UnusableError(
            f"There is no program {argv[0]!r} in this sandbox.",
            "Name it with its path in the source, or grant the program.",
        )
    port = _free_port()
    pid = os.posix_spawn(
        program,
        [word.replace("{port}", str(port)) for word in argv],
        os.environ | {"PORT": str(port), "HOST": HOST},
        setpgroup=0,
        setsigdef=[signal.SIGPIPE, signal.SIGURG],
    )
    try:
        card = _wait_for_card(pid, port)
        offered = interface_of(card)
    except BaseException:
        _kill(pid)
        raise
    endpoint = A2AEndpoint((HOST, port), urlsplit(offered.url).path or "/", offered.version, {})
    served = PassedTurns(endpoint, card, whose="The command's A2A server")
    return Loaded(
        "a2a-command",
        served.run,
        streams=served.streams,
        waits=False,
        detail=f"{card.get('name', '')} (A2A {endpoint.version})",
        skills=skills_of(card),
        close=lambda: _kill(pid),
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for_card(pid: int, port: int) -> JsonObject:
    until = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < until:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            raise UnusableError(
                f"The command ended with {code} before it served A2A.", "See the agent's log."
            )
        for path in CARD_PATHS:
            with suppress(WireError):
                card = get_json((HOST, port), path, {}, timeout_s=5)
                if isinstance(card, dict):
                    return card
        time.sleep(POLL_S)
    raise UnusableError(
        f"The command showed no agent card for {START_TIMEOUT_S:g} s.",
        "It must serve A2A on 127.0.0.1 at the port that PORT (or `{port}` in its line) names.",
    )


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)
