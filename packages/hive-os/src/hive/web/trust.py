"""The paths of trusted keys: whose signatures on packages count here."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from hive.web.chapters import Answer, ApiQuestion, Chapter, Lines, RouteKey


class TrustLine(msgspec.Struct, frozen=True, kw_only=True):
    """A key that is trusted: its name, its id (SHA-256 of its DER form) and its kind."""

    name: str
    id: str
    kind: str


class TrustOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A public key to be trusted under a name, as PEM."""

    name: str
    pem: str


class ToolPackageLine(msgspec.Struct, frozen=True, kw_only=True):
    """What a node has built as the package of a tool server, as a signer vouches for it."""

    name: str
    version: str
    digest: str
    spec: dict[str, Any] = {}


class TrustDesk(Protocol):
    """Who keeps the keys."""

    async def lines(self) -> Sequence[TrustLine]:
        """Tell the keys, by name."""
        ...

    async def add(self, order: TrustOrder) -> TrustLine:
        """Trust a key. Raises SupplyError, InvalidIdError."""
        ...

    async def remove(self, name: str) -> TrustLine:
        """Trust a key no longer. Raises NotFoundError."""
        ...

    async def forget(self, agent: str) -> None:
        """Let an older signed version of an agent, or of a tool server's package, come back. Raises NotFoundError."""
        ...

    async def package(self, server: str) -> ToolPackageLine:
        """Say what would be signed of a tool server. Raises NotFoundError, SupplyError."""
        ...


class TrustChapter(Chapter):
    """The paths."""

    def __init__(self, desk: TrustDesk) -> None:
        self._desk = desk
        self.answers: Mapping[RouteKey, Answer] = {
            ("GET", "trust", 0): self._list,
            ("POST", "trust", 0): self._add,
            ("DELETE", "trust", 1): self._remove,
            ("DELETE", "newest-packages", 1): self._forget,
            ("GET", "tool-packages", 1): self._package,
        }
        self.streams: Mapping[RouteKey, Lines] = {}

    async def _list(self, _question: ApiQuestion) -> object:
        return list(await self._desk.lines())

    async def _add(self, question: ApiQuestion) -> object:
        return await self._desk.add(question.read(TrustOrder))

    async def _remove(self, question: ApiQuestion) -> object:
        return await self._desk.remove(question.rest[0])

    async def _package(self, question: ApiQuestion) -> object:
        return await self._desk.package(question.rest[0])

    async def _forget(self, question: ApiQuestion) -> object:
        await self._desk.forget(question.rest[0])
        return {"forgotten": question.rest[0]}
