"""Warrants on the operator's wire: `/api/warrants`, `/api/warrant-checks` and `/api/warrant-revocations`."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal, Protocol

import msgspec

from hive.web.chapters import Answer, ApiQuestion, Chapter, Lines, RouteKey


class WarrantMintOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a warrant is to allow, line by line as people write it, and whose key holds it (hexadecimal)."""

    allow: list[str]
    holder: str
    ttl_s: int = 3600
    depth: int = 1
    task: str = ""


class WarrantView(msgspec.Struct, frozen=True, kw_only=True):
    """What a warrant says. `links` are the lines of each link, the widest first; all of them hold."""

    id: str
    issuer: str
    holder: str
    not_after: datetime
    depth: int
    links: list[list[str]]
    task: str = ""
    parents: list[str] = []
    token: str = ""


class WarrantLine(msgspec.Struct, frozen=True, kw_only=True):
    """A warrant that this node gave out."""

    id: str
    holder: str
    by: str
    minted_at: datetime
    not_after: datetime


class WarrantQuestionOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A warrant to be verified here."""

    token: str


class WarrantRevokeOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to count no more."""

    kind: Literal["id", "task", "agent", "root"]
    value: str
    reason: str = ""


class WarrantRevocationLine(msgspec.Struct, frozen=True, kw_only=True):
    """What counts no more; `known` where it did not count before either."""

    kind: str
    value: str
    at: datetime
    by: str
    reason: str = ""


class WarrantRoot(msgspec.Struct, frozen=True, kw_only=True):
    """The key with which the node mints, and its newest signed revocation list in base64."""

    root: str
    revocation_list: str


class WarrantDesk(Protocol):
    """Who keeps the warrants of a node."""

    async def mint(self, order: WarrantMintOrder) -> WarrantView:
        """Make a warrant. Raises BadInputError."""
        ...

    async def lines(self) -> Sequence[WarrantLine]:
        """List what this node gave out, newest first."""
        ...

    async def one(self, warrant: str) -> WarrantView:
        """Return one that this node gave out. Raises NotFoundError."""
        ...

    async def verify(self, token: str) -> WarrantView:
        """Verify a warrant. Raises IdentityError."""
        ...

    async def revoke(self, order: WarrantRevokeOrder) -> Sequence[WarrantRevocationLine]:
        """Revoke what has a name; return all that is revoked. Raises BadInputError."""
        ...

    async def revocations(self) -> Sequence[WarrantRevocationLine]:
        """List what is revoked, newest first."""
        ...

    async def root(self) -> WarrantRoot:
        """Return what others need to trust, or to distrust, warrants of this node."""
        ...


class WarrantsChapter(Chapter):
    """The paths of warrants."""

    def __init__(self, desk: WarrantDesk) -> None:
        self._desk = desk
        self.answers: Mapping[RouteKey, Answer] = {
            ("GET", "warrants", 0): self._list,
            ("POST", "warrants", 0): self._mint,
            ("GET", "warrants", 1): self._one,
            ("POST", "warrant-checks", 0): self._verify,
            ("GET", "warrant-revocations", 0): self._revoked,
            ("POST", "warrant-revocations", 0): self._revoke,
            ("GET", "warrant-root", 0): self._root,
        }
        self.streams: Mapping[RouteKey, Lines] = {}

    async def _list(self, _question: ApiQuestion) -> object:
        return list(await self._desk.lines())

    async def _mint(self, question: ApiQuestion) -> object:
        return await self._desk.mint(question.read(WarrantMintOrder))

    async def _one(self, question: ApiQuestion) -> object:
        return await self._desk.one(question.rest[0])

    async def _verify(self, question: ApiQuestion) -> object:
        return await self._desk.verify(question.read(WarrantQuestionOrder).token)

    async def _revoked(self, _question: ApiQuestion) -> object:
        return list(await self._desk.revocations())

    async def _revoke(self, question: ApiQuestion) -> object:
        return list(await self._desk.revoke(question.read(WarrantRevokeOrder)))

    async def _root(self, _question: ApiQuestion) -> object:
        return await self._desk.root()
