"""Which provider answers a model's name, and what happens when it does not: routes, fallbacks, retries, breakers.

`ModelRouter` is an `Upstream` of all wires. What it knows can be changed while it works: a question that is
under way keeps the provider that it began with.
"""

from hive.protocols.models.routing.options import UpstreamOptions
from hive.protocols.models.routing.presets import PRESETS, Preset
from hive.protocols.models.routing.registry import ModelRegistry, RouteRow, UpstreamRow
from hive.protocols.models.routing.router import ModelRouter, UpstreamState

__all__ = [
    "PRESETS",
    "ModelRegistry",
    "ModelRouter",
    "Preset",
    "RouteRow",
    "UpstreamOptions",
    "UpstreamRow",
    "UpstreamState",
]
