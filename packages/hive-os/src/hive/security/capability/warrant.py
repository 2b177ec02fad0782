"""The warrant: a list of terms, the widest first; what every one of them allows is allowed."""

from dataclasses import dataclass, field
from datetime import datetime

from hive.core.call import sha256_hex
from hive.security.capability.ports import Terms
from hive.security.capability.terms_check import TermsCheck, check_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Warrant:
    """What one task, or one holder, may do.

    `issuer` and `holder` are keys in hexadecimal, or `node` and an agent where it never left the node. `depth` is how
    often it may still be handed on. `minted_at` is when it was made, or the earliest that can have been. `marks` are the ids, tasks, agents and roots that it was made of, its own
    among them: whatever revokes one of these revokes it. `token` is its wire form where it has one.
    """

    id: str
    issuer: str
    holder: str
    links: tuple[Terms, ...]
    not_after: datetime
    minted_at: datetime
    depth: int
    task: str = ""
    parents: tuple[str, ...] = ()
    marks: frozenset[str] = frozenset()
    token: str = field(default="", repr=False, compare=False)
    checks: tuple[TermsCheck, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Compile the terms; equal ones are compiled once.

        Raises:
            BadInputError: a condition is none.

        """
        object.__setattr__(self, "checks", tuple(check_of(one) for one in self.links))

    @property
    def key(self) -> str:
        """Return what a call names it by: whoever made a warrant that travels has chosen its id."""
        if not self.token:
            return self.id
        return f"{self.id}.{sha256_hex(self.token.encode())[:16]}"


def mark(kind: str, value: str) -> str:
    """Return what stands in `marks` for an id, a task, an agent or a root."""
    return f"{kind}:{value}"
