"""Which layers add paths to the operator API of this node."""

from collections.abc import Awaitable, Callable, Sequence

from hive.core.json import Json
from hive.kernel.record import event
from hive.node.approvals import approvals_of
from hive.node.budgets import NodeBudgets
from hive.node.build import Node
from hive.node.enforce_desk import NodeEnforce
from hive.node.foreign_nodes import NodeNodes, answering_of
from hive.node.identity_desk import NodeIdentities
from hive.node.mcp_grants import NodeGrants
from hive.node.policy import NodePolicy
from hive.node.proofs import NodeProofs
from hive.node.relations import NodeRelations
from hive.node.runs import NodeRuns
from hive.node.secrets import NodeSecrets
from hive.node.spend import NodeSpend
from hive.node.trust import NodeTrust
from hive.node.warrants import NodeWarrants
from hive.node.watchdog_desk import NodeWatch
from hive.security.roles import acting_operator
from hive.security.supply_chain.trust import TrustFolder, folder_of
from hive.web.approvals import ApprovalsChapter
from hive.web.budgets import BudgetsChapter
from hive.web.chapters import Chapter
from hive.web.enforce import EnforceChapter
from hive.web.identity import IdentityChapter
from hive.web.llm import LlmChapter
from hive.web.mcp_grants import OauthGrantsChapter
from hive.web.nodes import NodesChapter
from hive.web.policy import PolicyChapter
from hive.web.proofs import ProofsChapter
from hive.web.relations import RelationsChapter
from hive.web.runs import RunsChapter
from hive.web.secrets import SecretsChapter
from hive.web.spend import SpendChapter
from hive.web.tools import ToolsChapter
from hive.web.trust import TrustChapter
from hive.web.warrants import WarrantsChapter
from hive.web.watchdog import WatchChapter


def chapters_of(node: Node) -> Sequence[Chapter]:
    """Return the chapters, each made of the node's own parts."""
    chapters: list[Chapter] = [SpendChapter(NodeSpend(node)), RunsChapter(NodeRuns(node))]
    chapters.append(BudgetsChapter(NodeBudgets(node.kernel.budgets)))
    chapters.append(ApprovalsChapter(approvals_of(node)))
    chapters.append(IdentityChapter(NodeIdentities(node.identity)))
    nodes = NodeNodes(node.registrar, answering_of(node.state), noting(node))
    chapters.append(NodesChapter(nodes))
    chapters.append(PolicyChapter(NodePolicy(node)))
    chapters.append(RelationsChapter(NodeRelations(node.relations)))
    chapters.append(WarrantsChapter(NodeWarrants(node.warrants)))
    chapters.append(WatchChapter(NodeWatch(node.watchdog, node.kernel.supervisor, node.state.path)))
    chapters.append(
        EnforceChapter(
            NodeEnforce(
                node.enforcement,
                agents=node.kernel.supervisor,
                builder=node.tiers.builder,
                note=noting(node),
            )
        )
    )
    if node.models is not None:
        chapters += [LlmChapter(node.models), SecretsChapter(NodeSecrets(node.models, node.tools))]
    if node.tools is not None:
        chapters.append(ToolsChapter(node.tools))
    chapters.append(ProofsChapter(_proofs_of(node)))
    chapters.append(
        TrustChapter(
            NodeTrust(
                folder=trust_of(node),
                note=noting(node),
                book=node.placement.provenance.book,
                packages=None if node.mcp is None else node.mcp.package,
            )
        )
    )
    if node.mcp is not None:
        chapters.append(OauthGrantsChapter(NodeGrants(node.mcp.oauth)))
    return chapters


def _proofs_of(node: Node) -> NodeProofs:
    return NodeProofs(
        database=node.engines.database,
        key=node.ledger.signer.key,
        witness=node.ledger.witness,
        checkpointer=node.ledger.checkpointer,
    )


def trust_of(node: Node) -> TrustFolder:
    """Return the folder of trusted keys."""
    return folder_of(node.settings.verify_url, node.settings.state)


def noting(node: Node) -> Callable[[str, dict[str, Json]], Awaitable[None]]:
    """Return what writes an event of the operator into the ledger."""

    async def note(name: str, body: dict[str, Json]) -> None:
        said = event(name, {**body, "by": str(acting_operator())}, clock=node.clock)
        await node.kernel.writer.append(said)

    return note
