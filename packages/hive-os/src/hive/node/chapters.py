"""Which layers add paths to the operator API of this node."""

from collections.abc import Sequence

from hive.node.approvals import NodeApprovals
from hive.node.budgets import NodeBudgets
from hive.node.build import Node
from hive.node.mcp_grants import NodeGrants
from hive.node.runs import NodeRuns
from hive.node.secrets import NodeSecrets
from hive.node.spend import NodeSpend
from hive.web.approvals import ApprovalsChapter
from hive.web.budgets import BudgetsChapter
from hive.web.chapters import Chapter
from hive.web.llm import LlmChapter
from hive.web.mcp_grants import OauthGrantsChapter
from hive.web.runs import RunsChapter
from hive.web.secrets import SecretsChapter
from hive.web.spend import SpendChapter
from hive.web.tools import ToolsChapter


def chapters_of(node: Node) -> Sequence[Chapter]:
    """Return the chapters, each made of the node's own parts."""
    chapters: list[Chapter] = [SpendChapter(NodeSpend(node)), RunsChapter(NodeRuns(node))]
    chapters.append(BudgetsChapter(NodeBudgets(node.kernel.budgets)))
    chapters.append(ApprovalsChapter(NodeApprovals(node.kernel.approvals)))
    if node.models is not None:
        chapters += [LlmChapter(node.models), SecretsChapter(NodeSecrets(node.models, node.tools))]
    if node.tools is not None:
        chapters.append(ToolsChapter(node.tools))
    if node.mcp is not None:
        chapters.append(OauthGrantsChapter(NodeGrants(node.mcp.oauth)))
    return chapters
