"""Messages a second through one agent with one sandbox, everything on record; beside the bare official server."""

from typing import Any, Final

from benchmarks.call_round_trip import CLIENTS, measure_both

NAME: Final = "call_rate"
SUMMARY: Final = "A2A messages a second to an agent in its sandbox, sixteen clients (details: one)"
UNIT: Final = "requests/s"


def run() -> dict[str, Any]:
    """Measure both in the same run."""
    found = measure_both()
    return {
        "value": found.many,
        "peer": found.peer_many,
        "peer_is": "the official SDK's echo server",
        "details": {
            "clients": CLIENTS,
            "one_client": found.one,
            "peer_one_client": found.peer_one,
            "ratio_one_client": found.one / found.peer_one,
            "sandboxes": 1,
        },
    }
