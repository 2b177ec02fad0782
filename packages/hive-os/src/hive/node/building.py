"""Building components without a node: the walls of the process tier, opened for one build."""

from collections.abc import Callable

import msgspec

from hive.core.settings import Settings
from hive.execution.component_build import BuildOrder, BuiltComponent, build_component
from hive.node.tiers import opened_tiers


async def build_alone(
    settings: Settings, order: BuildOrder, on_line: Callable[[str], None]
) -> BuiltComponent:
    """Build a component behind the walls of this machine.

    Raises:
        SpecError: the source cannot be used.
        BuildError: a tool is missing or said no.
        TierUnavailableError: the walls cannot be raised.

    """
    own = msgspec.structs.replace(settings, tiers="process:", mode="development")
    async with opened_tiers(own) as tiers:
        return await build_component(order, tiers.builder, on_line=on_line)
