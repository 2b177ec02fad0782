"""nats-server as a child: on an ephemeral loopback port, with credentials that only the node ever sees.

It has no UNIX socket, so any local process may reach the port; what protects it is a random user and
password made at each start, handed over by a pipe and never written to disk. The port is new at each start
as well: whoever takes the old one while the server is down learns nothing that is worth anything.

JetStream acknowledges before it has synced unless told otherwise (`sync_interval: always`).
"""

import os
import re
import signal
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import anyio

from hive.core.clock import Clock
from hive.core.errors import EngineTimeoutError
from hive.core.randomness import Randomness
from hive.core.secret import Secret
from hive.core.settings import Settings
from hive.engines.binaries import EngineBinary, find_nats
from hive.engines.children import Command, SupervisedChild, Upbringing, supervised
from hive.engines.embedded.demotion import Demotion, demotion_here, give, own_path, visibility
from hive.engines.embedded.leftovers import only_one
from hive.engines.embedded.logs import EngineLog

READY_WITHIN_S: Final = 30.0
PAYLOAD_MAX_BYTES: Final = 8 << 20
CREDENTIAL_BYTES: Final = 32
_LISTENING: Final = re.compile(rb"Listening for client connections on 127\.0\.0\.1:(\d+)")
_LOOK_AGAIN_S: Final = 0.002

_CONFIG: Final = """
listen: "127.0.0.1:-1"
server_name: "hive"
max_payload: {payload}
max_pending: {pending}
write_deadline: "5s"
authorization {{ user: "hive", password: "{password}", timeout: 2 }}
jetstream {{ store_dir: "{store}", sync_interval: always }}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class NatsAddress:
    """Where one running server is reached, and with what."""

    servers: tuple[str, ...]
    user: str = ""
    password: Secret = field(default_factory=lambda: Secret(""))
    tls: Callable[[], ssl.SSLContext] | None = None


@dataclass(slots=True, kw_only=True)
class NatsServer:
    """The server, and the credentials of its present life."""

    binary: EngineBinary
    data: Path
    demotion: Demotion
    log: EngineLog
    randomness: Randomness
    child: SupervisedChild | None = None
    _password: Secret = field(default_factory=lambda: Secret(""))
    _log_offset: int = 0

    async def prepare(self) -> Command:
        """Make new credentials and the command that takes them."""
        self._password = Secret(self.randomness.token(CREDENTIAL_BYTES).hex())
        self.log.bound()
        self._log_offset = self.log.size_bytes()
        text = _CONFIG.format(
            payload=PAYLOAD_MAX_BYTES,
            pending=8 * PAYLOAD_MAX_BYTES,
            password=self._password.reveal(),
            store=f"{own_path(self.data)}/jetstream",
        )
        reading, writing = os.pipe()
        os.write(writing, text.encode())
        os.close(writing)
        if self.demotion.uid is not None:
            os.fchown(reading, self.demotion.uid, self.demotion.uid)
        seen = visibility(Path(self.binary.program), Path(self.binary.root), self.demotion)
        argv = (seen.program, "--config", f"/dev/fd/{reading}")
        return Command(argv=argv, directory=self.data, shown=seen.shown, passed=(reading,))

    async def address(self) -> NatsAddress:
        """Wait until the server listens; return where.

        Raises:
            EngineUnavailableError: it has died and is not started again yet.
            EngineTimeoutError: it does not get ready.

        """
        with anyio.move_on_after(READY_WITHIN_S):
            while True:
                if self.child is not None:
                    # First, for the log still holds the address of a server that has just died.
                    self.child.check_alive()
                found = _LISTENING.findall(self.log.read(self._log_offset))
                if found:
                    server = f"nats://127.0.0.1:{int(found[-1])}"
                    return NatsAddress(servers=(server,), user="hive", password=self._password)
                await anyio.sleep(_LOOK_AGAIN_S)
        raise EngineTimeoutError(
            f"The embedded nats-server was not ready within {READY_WITHIN_S:.0f} s.",
            why=self.log.tail(),
            fix="Run `hive doctor`, which starts it once for a test.",
        )


@asynccontextmanager
async def nats_server(
    settings: Settings, *, clock: Clock, randomness: Randomness
) -> AsyncIterator[NatsServer]:
    """Run the server; it may still be starting when the context is entered.

    Raises:
        ConfigError: no usable binary, or another node uses the folder.
        EngineError: it cannot be started.

    """
    engines = settings.state / "engines"
    home = engines / "nats"
    binary = find_nats(settings, remembered_in=engines / "binaries.json")
    server = NatsServer(
        binary=binary,
        data=home / "data",
        demotion=demotion_here(),
        log=EngineLog(engines / "nats.log"),
        randomness=randomness,
    )
    with only_one(home, "nats-server"):
        if not server.data.exists():
            server.data.mkdir(mode=0o700)
        give(server.data, server.demotion)
        upbringing = Upbringing(
            name="nats-server",
            record=home / "child.json",
            log=server.log,
            demotion=server.demotion,
            death_signal=signal.SIGKILL,
            stop_signals=(signal.SIGTERM,),
            prepare=server.prepare,
        )
        async with supervised(upbringing, clock) as child:
            server.child = child
            yield server
