"""When a link at rest is asked whether it still lives, and what its answer means.

Only links that somebody used a short while ago are asked, each time after a longer rest, and never while a
request is on its way: a server that works on one has the right to be silent. Any answer is a sign of life,
an error too.
"""

from typing import Final

from hive.core.errors import (
    EngineTimeoutError,
    EngineUnavailableError,
    HiveError,
    StateError,
)
from hive.protocols.mcp.hub.session import LinkSession
from hive.protocols.mcp.ports import McpError

RECENT_S: Final = 300.0
PING_FIRST_S: Final = 15.0
PING_TIMEOUT_S: Final = 10.0
MISSES_MAX: Final = 2
PINGS_AT_ONCE_MAX: Final = 16
REOPENS_MAX: Final = 5


def recently_used(session: LinkSession, now: float) -> bool:
    """Tell whether somebody may want it again soon."""
    return not session.exclusive and now - session.idle_since <= RECENT_S


def is_due(session: LinkSession, now: float) -> bool:
    """Tell whether it should be asked now: after 15 s of rest, then 30, 60, 120 and 240."""
    at_rest = session.users == 0 and not session.ended and not session.pinging
    if not at_rest or not recently_used(session, now):
        return False
    if session.misses:
        return True
    rested_s = now - session.idle_since
    return rested_s >= PING_FIRST_S * (1 << session.pings)


async def ping(session: LinkSession) -> HiveError | None:
    """Ask; return why it is dead, None where it lives or may.

    One silence proves nothing, since a server may still be busy with a call that was given up; a second does.
    """
    before = session.idle_since
    session.pings += 1
    # The newest revision has no ping; there every server says what it is.
    method = "server/discover" if session.description.stateless else "ping"
    dead: HiveError | None = None
    try:
        await session.request(method, {}, timeout_s=PING_TIMEOUT_S, courier=None, named=None)
    except EngineTimeoutError as error:
        session.misses += 1
        dead = error if session.misses >= MISSES_MAX else None
    except (EngineUnavailableError, StateError) as error:
        dead = error
    except (McpError, HiveError):
        session.misses = 0
    else:
        session.misses = 0
    used = session.users or session.idle_since != before
    return None if used and not session.wire.ended else dead
