"""What a request of the standard must satisfy before it means anything here."""

from hive.core.errors import InvalidIdError
from hive.core.ids import AgentId, foreign_id
from hive_a2a.faults import invalid


def to_id(text: str, what: str) -> str:
    """Accept a stranger's id.

    Raises:
        WireFault: it is empty or too long, or holds a wildcard, separator or control character.

    """
    try:
        return foreign_id(text, what=what)
    except InvalidIdError as error:
        raise invalid(str(error)) from None


def admit_tenant(tenant: str, agent: AgentId) -> None:
    """Let requests pass that name no tenant, or the agent itself (as gRPC does).

    Raises:
        WireFault: another tenant; nothing is shared by guessing what was meant.

    """
    if tenant and tenant != agent:
        raise invalid("This agent serves no such tenant.")


def admit_history(length: int | None) -> None:
    """Let a sensible history length pass.

    Raises:
        WireFault: it is negative.

    """
    if length is not None and length < 0:
        raise invalid("historyLength is not negative.")
