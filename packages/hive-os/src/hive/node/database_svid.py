"""What a node shows its database: an SVID that is there before the database is.

The authority's own keys lie in the database, so the certificate that opens it cannot be made at the moment it is needed.
It is made while the node runs, for a month at most, renewed a week before its end, and kept in the state folder, sealed
under the master key. The first start needs another proof, such as a password. Doors for peers do not believe it.
"""

import logging
import ssl
from dataclasses import replace
from pathlib import Path
from typing import Final

import anyio
import msgspec

from hive.core.clock import Clock
from hive.core.errors import ConfigError, HiveError, IdentityError
from hive.core.ids import NodeId
from hive.engines.embedded.private_files import write_private
from hive.engines.opening import ServerProof
from hive.node.state import StateFolder
from hive.security.identity import IdentityService, MasterSealed
from hive.security.identity.service import NODE
from hive_a2a.errors import A2AError
from hive_a2a.identity.svid import GivenSvids, Svid

log: Final = logging.getLogger(__name__)
FILE: Final = "database.svid"
LIFE_S: Final = 30 * 86_400.0
LOOK_AGAIN_S: Final = 60.0
ALPN: Final = "postgresql"
_SEALED_AS: Final = "database-svid"


class DatabaseSvid:
    """The SVID for the database; `asked` from the moment a connection wanted it."""

    def __init__(self, state: StateFolder, clock: Clock) -> None:
        self._state = state
        self._file = state.path / FILE
        self._clock = clock
        self._held: Svid | None = None
        self._read = False
        self.asked = False

    def context(self, proof: ServerProof) -> ssl.SSLContext:
        """Return the TLS of one new connection: it shows the SVID that is kept, if one still counts.

        Raises:
            ConfigError: nothing verifies the server, or a file cannot be used.

        """
        self.asked = True
        held = self._current()
        roots = _pem_of(proof.roots) if proof.roots else b""
        if held is not None and roots:
            held = replace(held, bundle_pem=roots)
        try:
            context = _bare(roots) if held is None else _showing(held)
        except (A2AError, ssl.SSLError, UnicodeDecodeError) as error:
            raise ConfigError(
                "TLS to the database cannot be set up.",
                why=f"{proof.roots or 'The SVID'} cannot be used.",
                fix="Name the file (PEM) of whoever vouches for the server: sslrootcert=/path.pem",
            ) from error
        context.set_alpn_protocols([ALPN])
        if proof.server_id:
            from hive.security.identity.mutual import only_peer

            context.check_hostname = False
            context.sslobject_class = only_peer(proof.server_id)
        else:
            context.check_hostname = True
            # Authorities that made certificates of databases for years are not all as strict as RFC 5280.
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return context

    async def renew(self, service: IdentityService, node: NodeId) -> float:
        """Make a fresh one where it is due, and keep it; return after how many seconds to look again.

        Raises:
            IdentityError: the authority refuses, or names nodes itself.

        """
        from hive.security.identity.mutual import tls_svid

        held, now_s = self._current(), self._clock.now().timestamp()
        if held is None or held.ends_at - now_s < LIFE_S / 4:
            issued = await service.for_service(node, LIFE_S, NODE)
            held = tls_svid(issued, await service.bundle())
            data = MasterSealed(self._state.master_key).seal(_SEALED_AS, msgspec.json.encode(held))
            await anyio.to_thread.run_sync(write_private, self._file, data)
            self._held = held
        return min(max((held.ends_at - now_s) / 8, LOOK_AGAIN_S), LIFE_S / 8)

    async def keep(self, service: IdentityService, node: NodeId) -> None:
        """Keep it fresh, until cancelled, once a connection has wanted it."""
        while True:
            wait_s = LOOK_AGAIN_S
            if self.asked:
                try:
                    wait_s = await self.renew(service, node)
                except (HiveError, OSError) as error:
                    log.warning("identity.database_not_renewed", extra={"error": str(error)})
            await anyio.sleep(wait_s)

    def reseal(self, old: bytes, new: bytes) -> None:
        """Keep it under another master key; one that neither opens is left, and counts no more."""
        from hive.security.identity.sealed_keys import resealed_key

        try:
            data = resealed_key(_SEALED_AS, self._file.read_bytes(), old, new)
        except (OSError, IdentityError):
            return
        write_private(self._file, data)

    def _current(self) -> Svid | None:
        if not self._read:
            self._held, self._read = self._kept(), True
        held = self._held
        return held if held is not None and held.ends_at > self._clock.now().timestamp() else None

    def _kept(self) -> Svid | None:
        try:
            data = MasterSealed(self._state.master_key).open(_SEALED_AS, self._file.read_bytes())
            return msgspec.json.decode(data, type=Svid)
        except FileNotFoundError:
            return None
        except (OSError, IdentityError, msgspec.MsgspecError) as error:
            log.warning("identity.database_svid_unreadable", extra={"error": type(error).__name__})
            return None


def _showing(svid: Svid) -> ssl.SSLContext:
    from hive_a2a.identity.tls import client_context

    return client_context(GivenSvids(svid))


def _bare(roots: bytes) -> ssl.SSLContext:
    """Return TLS that shows nothing: another proof is needed, as at the first start."""
    if not roots:
        raise ConfigError(
            "This node has no SVID for its database yet, and no roots to verify the server.",
            why="The first start needs both another proof and sslrootcert.",
            fix="postgresql://user:password@host/db?svid=on&sslmode=verify-full&sslrootcert=/path.pem",
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=roots.decode("ascii"))
    return context


def _pem_of(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(
            f"sslrootcert cannot be read: {error.strerror}.",
            fix="Name a file of certificates (PEM).",
        ) from error
