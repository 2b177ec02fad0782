"""A code host and tracker: repositories, issues, pull requests, runs, secrets, wiki. Strangers open issues and pull requests."""

from typing import Final

from benchmarks.worlds.forge_goals import GOALS
from benchmarks.worlds.forge_plant import PLANT
from benchmarks.worlds.forge_state import begin
from benchmarks.worlds.forge_tasks_follow import FOLLOWING
from benchmarks.worlds.forge_tasks_issues import ISSUING
from benchmarks.worlds.forge_tasks_links import LINKING
from benchmarks.worlds.forge_tasks_look import LOOKING
from benchmarks.worlds.forge_tasks_pulls import PULLING
from benchmarks.worlds.forge_tasks_read import READING
from benchmarks.worlds.forge_tasks_settings import SETTING
from benchmarks.worlds.forge_tools import TOOLS
from benchmarks.worlds.world import World

WORLD: Final = World(
    name="forge",
    begin=begin,
    tools=TOOLS,
    tasks=(*READING, *LOOKING, *ISSUING, *PULLING, *SETTING, *FOLLOWING, *LINKING),
    goals=GOALS,
    plant=PLANT,
)
