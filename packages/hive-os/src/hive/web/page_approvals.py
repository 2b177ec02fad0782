"""What the live page shows of approvals: which calls wait for a person, why, and how to answer.

The page commands nothing: the answer is given by a command, where its giver is known.
"""

from collections.abc import Sequence
from typing import Final

from hive.web.approvals import ApprovalLine
from hive.web.markup import cell, long_cell, number_cell, section, state_cell

SHOWN: Final = 50
ARGUMENTS_MAX_CHARS: Final = 120


def approval_sections(waiting: Sequence[ApprovalLine]) -> str:
    """Return the section about what waits; nothing where nothing does."""
    if not waiting:
        return ""
    open_ones = sum(one.state == "waiting" for one in waiting)
    rows = (
        (
            number_cell(one.asked_at.strftime("%H:%M:%S")),
            state_cell(one.state, good=one.state == "allowed", bad=one.state == "denied"),
            cell(f"{one.verb} {one.target}"),
            long_cell(_beginning(one.arguments)),
            cell(f"{one.by}, for {one.owner}"),
            long_cell("; ".join((one.note or one.rule, *_named(one)))),
            cell(
                f"hive approve yes {one.id}" if one.state == "waiting" else f"by {one.decided_by}"
            ),
        )
        for one in waiting[:SHOWN]
    )
    heads = ("Asked (UTC)", "State", "Call", "With", "By", "Why", "To answer")
    return section("approvals", f"Waiting for a person ({open_ones})", heads, rows, "")


def _named(one: ApprovalLine) -> list[str]:
    return [f"{path} is of {record!r}" for path, record in one.about.items()]


def _beginning(arguments: str) -> str:
    """Return what fits, and say first where it is not all: a cell is cut at its end."""
    if len(arguments) <= ARGUMENTS_MAX_CHARS:
        return arguments
    return f"NOT ALL of {len(arguments)} characters: {arguments[:ARGUMENTS_MAX_CHARS]}"
