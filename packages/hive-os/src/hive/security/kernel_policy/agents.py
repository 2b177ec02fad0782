"""Which agents a policy is for: labels of Kubernetes, read as the names of agents.

An agent has a name and no labels. A label that could never match would make a policy that does nothing, so it is
refused by name.
"""

from dataclasses import dataclass
from typing import Final

from hive.core.ids import printable
from hive.security.kernel_policy.reader import YamlTable, refuse

NAME_LABELS: Final = ("app.kubernetes.io/name", "hive.agent")
"""Labels whose value is the name of an agent."""
_PREFIXES: Final = ("k8s:", "any:")


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSelector:
    """Names of agents; no name at all means every agent."""

    among: frozenset[str] | None = None
    without: frozenset[str] = frozenset()

    def covers(self, agent: str) -> bool:
        """Tell whether a policy is for an agent."""
        return (self.among is None or agent in self.among) and agent not in self.without

    @property
    def text(self) -> str:
        """Say which agents these are."""
        named = "every agent" if self.among is None else ", ".join(sorted(self.among)) or "no agent"
        return f"{named}{' but ' + ', '.join(sorted(self.without)) if self.without else ''}"


EVERY_AGENT: Final = AgentSelector()


def selector_of(table: YamlTable | None) -> AgentSelector:
    """Read a label selector; an empty or missing one selects every agent.

    Raises:
        PolicyError: it names a label that agents do not have.

    """
    if table is None:
        return EVERY_AGENT
    among: frozenset[str] | None = None
    without: frozenset[str] = frozenset()
    labels = table.table("matchLabels")
    if labels is not None:
        for label in labels.fields:
            _known(label, labels.at(label))
            among = _both(among, frozenset({labels.needed(label)}))
    for one in table.tables("matchExpressions"):
        _known(one.needed("key"), one.at("key"))
        operator, values = one.needed("operator"), frozenset(one.texts("values"))
        if operator == "In" and values:
            among = _both(among, values)
        elif operator == "NotIn" and values:
            without |= values
        else:
            refuse(
                f"matchExpressions operator {printable(operator[:40])} is outside what Hive enforces",
                one.at("operator"),
                fix="Use In or NotIn with values.",
            )
        one.done()
    table.done()
    return AgentSelector(among=among, without=without)


def _known(label: str, line: int) -> None:
    bare = label
    for prefix in _PREFIXES:
        bare = bare.removeprefix(prefix)
    if bare not in NAME_LABELS:
        refuse(
            f"agents have no label {printable(label[:80])}",
            line,
            fix=f"Name the agent: {' or '.join(NAME_LABELS)}.",
        )


def _both(known: frozenset[str] | None, more: frozenset[str]) -> frozenset[str]:
    return more if known is None else known & more
