"""For whom a node speaks, as far as it is believed."""

from typing import Final

from hive.core.call import Principal, PrincipalKind
from hive.core.errors import BadInputError
from hive.core.ids import AgentId, NodeId, OwnerId, agent_id
from hive.core.json import Json
from hive.kernel.letters import FROM_KIND
from hive.mesh import Envelope

NAME_MAX_CHARS: Final = 200


def principal_of(envelope: Envelope, *, own: NodeId) -> Principal:
    """Return who calls; another node's parties carry its name and can never be one of ours.

    Raises:
        BadInputError: a name is empty, too long or cannot be printed.

    """
    claimed = envelope.principal
    for text in (claimed.name, claimed.owner):
        if not 0 < len(text) <= NAME_MAX_CHARS or not text.isprintable() or "@" in text:
            raise BadInputError("An envelope names a principal that is not valid.")
    kind = PrincipalKind(claimed.kind)
    if envelope.sender == own:
        agent: AgentId | None = agent_id(claimed.agent) if claimed.agent else None
        return Principal(kind=kind, name=claimed.name, owner=OwnerId(claimed.owner), agent=agent)
    if kind in (PrincipalKind.OPERATOR, PrincipalKind.NODE):
        # Who operates that node does not operate this one, and no other node is this one, which may read every run.
        kind = PrincipalKind.CLIENT
    return Principal(
        kind=PrincipalKind.CLIENT if kind is PrincipalKind.AGENT else kind,
        name=f"{claimed.name}@{envelope.sender}",
        owner=OwnerId(f"{claimed.owner}@{envelope.sender}"),
    )


def call_facts(envelope: Envelope) -> dict[str, Json]:
    """Return what the checks of the gate may need of an envelope."""
    return {
        "node": envelope.sender,
        FROM_KIND: envelope.principal.kind,
        "call": envelope.call_id,
        "attempt": envelope.attempt,
        "nonce": envelope.nonce,
        "warrants": list(envelope.warrants),
        "integrity": [label.integrity for label in envelope.labels],
        "escrow_model_calls": envelope.escrow.model_calls,
        "escrow_tokens": envelope.escrow.tokens,
        "escrow_micro_usd": envelope.escrow.micro_usd,
    }
