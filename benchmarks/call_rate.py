"""Messages a second through one agent with one sandbox, everything on record; beside the bare official server."""

from typing import Any, Final

from benchmarks.call_round_trip import CLIENTS, measure_both

NAME: Final = "call_rate"
SUMMARY: Final = "A2A messages a second to an agent in its sandbox, one client (details: sixteen)"
UNIT: Final = "requests/s"


def run() -> dict[str, Any]:
    """Measure both in the same run."""
    found = measure_both()
    return {
        "value": found.one,
        "peer": found.peer_one,
        "peer_is": "the official SDK's echo server",
        "details": {
            "clients": CLIENTS,
            "many_clients": found.many,
            "peer_many_clients": found.peer_many,
            "ratio_many_clients": found.many / found.peer_many,
            "sandboxes": 1,
        },
    }
