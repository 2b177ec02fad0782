"""What the operator let programs do by OAuth, on his own wire: `/api/mcp-grants`, to look at and to take back."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from hive.web.chapters import Answer, ApiQuestion, Chapter, Lines, RouteKey


class OauthGrantLine(msgspec.Struct, frozen=True, kw_only=True):
    """One grant that stands: which program, for which address, for what, until when at the latest."""

    id: str
    client: str
    resource: str
    scopes: list[str]
    created_at: datetime
    ends_at: datetime
    name: str = ""
    bound: bool = False


class OauthGrantDesk(Protocol):
    """Who keeps the grants."""

    async def lines(self) -> Sequence[OauthGrantLine]:
        """Tell what stands, newest first."""
        ...

    async def revoke(self, grant: str) -> None:
        """End a grant and all that is open under it. Raises NotFoundError."""
        ...


class OauthGrantsChapter(Chapter):
    """The paths of grants."""

    def __init__(self, desk: OauthGrantDesk) -> None:
        self._desk = desk
        self.answers: Mapping[RouteKey, Answer] = {
            ("GET", "mcp-grants", 0): self._list,
            ("DELETE", "mcp-grants", 1): self._revoke,
        }
        self.streams: Mapping[RouteKey, Lines] = {}

    async def _list(self, _question: ApiQuestion) -> object:
        return list(await self._desk.lines())

    async def _revoke(self, question: ApiQuestion) -> object:
        await self._desk.revoke(question.rest[0])
        return {}
