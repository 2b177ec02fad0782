"""The operator's hand on the folder of trusted keys; what a running node is told stands in its ledger."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from anyio import to_thread

from hive.core.errors import NotFoundError
from hive.core.ids import printable
from hive.core.json import Json
from hive.security.supply_chain.book import PackageBook
from hive.security.supply_chain.statement import SignedKind
from hive.security.supply_chain.trust import TrustedKey, TrustFolder, public_key_of
from hive.web.trust import ToolPackageLine, TrustLine, TrustOrder


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeTrust:
    """Keeps the keys; `note` writes an event, and does nothing while no node runs."""

    folder: TrustFolder
    note: Callable[[str, dict[str, Json]], Awaitable[None]]
    book: PackageBook | None = None
    packages: Callable[[str], Awaitable[ToolPackageLine]] | None = None

    async def lines(self) -> Sequence[TrustLine]:
        """Tell the keys, by name."""
        keys = await to_thread.run_sync(self.folder.keys)
        return sorted((_line(key) for key in keys.values()), key=lambda line: line.name)

    async def add(self, order: TrustOrder) -> TrustLine:
        """Trust a key. Raises SupplyError, InvalidIdError."""
        der = public_key_of(order.pem, what=f"The key {order.name}")
        key = await to_thread.run_sync(self.folder.add, order.name, der)
        await self.note("trust.added", {"name": key.name, "key": key.id})
        return _line(key)

    async def remove(self, name: str) -> TrustLine:
        """Trust a key no longer. Raises NotFoundError."""
        key = await to_thread.run_sync(self.folder.remove, name)
        await self.note("trust.removed", {"name": key.name, "key": key.id})
        return _line(key)

    async def forget(self, agent: str) -> None:
        """Let an older signed version of an agent, or of a server's package, come back. Raises NotFoundError."""
        book = self.book
        if book is None or not (
            await book.forget(SignedKind.AGENT, agent) or await book.forget(SignedKind.TOOL, agent)
        ):
            raise NotFoundError(f"No signed agent {printable(agent)} has run here.", fix="hive ps")
        await self.note("trust.older_allowed", {"agent": agent})

    async def package(self, server: str) -> ToolPackageLine:
        """Say what would be signed of a tool server. Raises NotFoundError, SupplyError."""
        if self.packages is None:
            raise NotFoundError("No tool server is hosted here.")
        return await self.packages(server)


def _line(key: TrustedKey) -> TrustLine:
    return TrustLine(name=key.name, id=key.id, kind=key.kind)
