"""A cloud drive: folders, documents, sheets, comments, sharing, versions, trash. Customers and suppliers write into it."""

from typing import Final

from benchmarks.worlds.files_goals import GOALS, PLANT
from benchmarks.worlds.files_state import begin
from benchmarks.worlds.files_tasks_follow import FOLLOWING
from benchmarks.worlds.files_tasks_read import READING
from benchmarks.worlds.files_tasks_share import SHARING
from benchmarks.worlds.files_tasks_write import WRITING
from benchmarks.worlds.files_tools import TOOLS
from benchmarks.worlds.world import World

WORLD: Final = World(
    name="files",
    begin=begin,
    tools=TOOLS,
    tasks=(*READING, *SHARING, *WRITING, *FOLLOWING),
    goals=GOALS,
    plant=PLANT,
)
