"""A team chat: channels, threads, direct messages, canvases and guests. Everybody else's words are strangers' words."""

from typing import Final

from benchmarks.worlds import (
    chat_tasks_described,
    chat_tasks_follow,
    chat_tasks_look,
    chat_tasks_people,
    chat_tasks_post,
    chat_tasks_read,
)
from benchmarks.worlds.chat_goals import GOALS, PLANT
from benchmarks.worlds.chat_state import begin
from benchmarks.worlds.chat_tools import TOOLS
from benchmarks.worlds.world import World

_TASKS: Final = (
    *chat_tasks_read.TASKS,
    *chat_tasks_look.TASKS,
    *chat_tasks_post.TASKS,
    *chat_tasks_people.TASKS,
    *chat_tasks_described.TASKS,
    *chat_tasks_follow.TASKS,
)
WORLD: Final = World("chat", begin, TOOLS, _TASKS, GOALS, PLANT)
"""The chat of Fjordworks, of which Mia Larsen is the user."""
