"""An online bank: accounts, payments, bills, cards, access. Billers, payers and sellers write into it."""

from typing import Final

from benchmarks.worlds import (
    bank_tasks_described,
    bank_tasks_keep,
    bank_tasks_look,
    bank_tasks_pay,
    bank_tasks_read,
)
from benchmarks.worlds.bank_goals import GOALS, PLANT
from benchmarks.worlds.bank_state import begin
from benchmarks.worlds.bank_tools import TOOLS
from benchmarks.worlds.world import World

_TASKS: Final = (
    *bank_tasks_read.TASKS,
    *bank_tasks_look.TASKS,
    *bank_tasks_pay.TASKS,
    *bank_tasks_keep.TASKS,
    *bank_tasks_described.TASKS,
)
WORLD: Final = World("bank", begin, TOOLS, _TASKS, GOALS, PLANT)
"""The bank of Hanna Vogt."""
