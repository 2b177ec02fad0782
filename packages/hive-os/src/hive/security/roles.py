"""Who among the operators may do what: a role for each token of the operator API, and who acts now.

The one operator's token that every node has is an admin's, and so is whoever may open the control socket.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from hive.core.call import Principal, PrincipalKind
from hive.core.ids import OwnerId


class OperatorRole(StrEnum):
    """What an operator may do, each more than the one before: look, answer questions, run agents, all."""

    VIEWER = "viewer"
    APPROVER = "approver"
    OPERATOR = "operator"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorSeat:
    """Who speaks to the operator API, and as what."""

    principal: Principal
    role: OperatorRole


class RoleBook(Protocol):
    """What each role may do."""

    def allows(self, role: OperatorRole, method: str, path: str) -> bool:
        """Tell whether a role may ask a path of the API, given as `/noun/segments after it`."""
        ...


OPERATOR: Final = Principal(kind=PrincipalKind.OPERATOR, name="operator", owner=OwnerId("operator"))
_ACTING: ContextVar[Principal] = ContextVar("hive_acting_operator", default=OPERATOR)


def acting_operator() -> Principal:
    """Return the operator for whom this runs: who is written down for what follows."""
    return _ACTING.get()


@contextmanager
def acting(principal: Principal) -> Iterator[None]:
    """Run the body for an operator."""
    token = _ACTING.set(principal)
    try:
        yield
    finally:
        _ACTING.reset(token)
