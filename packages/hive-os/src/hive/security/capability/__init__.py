"""Capabilities: what one task may do, written down as a warrant that can only ever be made narrower.

`Terms` say what is allowed: capabilities, each a verb and a target with conditions on arguments. A `Warrant` is a
list of terms, the widest first, and a call passes where every one of them lets it pass: whoever hands a
warrant on adds terms and can take none away, so narrowing needs no proof.

    warrant_for_task   makes the warrant of a task: the operator's ceiling, the caller's warrant, the agent's grant
    objection          judges one call; pure, a few microseconds
    WarrantBook        mints, verifies and revokes warrants that leave the node (`drivers`: `tenuo:`)
"""

from hive.security.capability.book import WarrantBook
from hive.security.capability.derive import TaskOrder, joined, terms_of, warrant_for_task
from hive.security.capability.grammar import capability_of, capability_text
from hive.security.capability.objection import objection
from hive.security.capability.ports import (
    EVERYTHING,
    Capability,
    MintOrder,
    Terms,
    WarrantNoticed,
    Warrants,
)
from hive.security.capability.record import read_warrant, write_warrant
from hive.security.capability.revocations import Revocation
from hive.security.capability.warrant import Warrant

__all__ = (
    "EVERYTHING",
    "Capability",
    "MintOrder",
    "Revocation",
    "TaskOrder",
    "Terms",
    "Warrant",
    "WarrantBook",
    "WarrantNoticed",
    "Warrants",
    "capability_of",
    "capability_text",
    "joined",
    "objection",
    "read_warrant",
    "terms_of",
    "warrant_for_task",
    "write_warrant",
)
