"""The node's book of warrants: opened with the node's own key, asked at every call, and the operator's desk for it."""

from base64 import b64encode
from collections.abc import Sequence

from hive.core.call import NO_OWNER
from hive.core.errors import BadInputError, ConfigError
from hive.core.ids import OwnerId, TaskId, plain_text
from hive.core.json import Json
from hive.kernel.record import event
from hive.kernel.turns import RunningTurn, TurnBook
from hive.kernel.warrants import TaskWarrants
from hive.node.kernel_parts import Ground
from hive.node.state import StateFolder
from hive.security.capability import MintOrder, Warrant, WarrantBook
from hive.security.capability.grammar import terms_in, terms_text
from hive.security.capability.later import LaterWarrants
from hive.security.capability.ports import WarrantOpening
from hive.security.roles import acting_operator
from hive.web.warrants import (
    WarrantDesk,
    WarrantLine,
    WarrantMintOrder,
    WarrantRevocationLine,
    WarrantRevokeOrder,
    WarrantRoot,
    WarrantView,
)


async def open_warrants(ground: Ground, state: StateFolder, warrants: TaskWarrants) -> WarrantBook:
    """Open the book, and let every task's warrant be held to what it says is revoked. Raises ConfigError."""
    settings, clock, writer = ground.settings, ground.clock, ground.writer

    async def emit(
        name: str,
        body: dict[str, Json],
        *,
        agent: str = "",
        owner: OwnerId = NO_OWNER,
        task: TaskId | None = None,
    ) -> None:
        await writer.append(event(name, body, clock=clock, agent=agent, owner=owner, task=task))

    opening = WarrantOpening(
        url=settings.warrants_url,
        root=state.warrant_seed,
        roots=tuple(key_of(one) for one in settings.warrant_roots),
        clock=clock,
    )
    engine = LaterWarrants.open(opening)
    book = WarrantBook(database=ground.database, engine=engine, clock=clock, emit=emit)
    await book.load()
    warrants.revocations = book
    hang_up_revoked(book, ground.turns)
    return book


def hang_up_revoked(book: WarrantBook, turns: TurnBook) -> None:
    """Let what is revoked end the connections that were opened under it."""

    def revoked(turn: RunningTurn) -> bool:
        return turn.warrant is not None and book.objection(turn.warrant) is not None

    book.on_revoked(lambda: turns.hang_up(revoked))


def key_of(text: str) -> bytes:
    """Read an Ed25519 public key in hexadecimal.

    Raises:
        ConfigError: it is none.

    """
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise ConfigError(
            f"{plain_text(text)[:80]!r} is no Ed25519 key.",
            fix="Write its 32 bytes in hexadecimal, as `hive warrant root` prints them.",
        )
    return key


class NodeWarrants(WarrantDesk):
    """The warrants of one node."""

    def __init__(self, book: WarrantBook) -> None:
        self._book = book

    async def mint(self, order: WarrantMintOrder) -> WarrantView:
        """Make a warrant. Raises BadInputError."""
        try:
            holder = key_of(order.holder)
        except ConfigError as error:
            raise BadInputError(error.what, fix=error.fix) from None
        wanted = MintOrder(
            terms=(terms_in(order.allow),),
            holder=holder,
            ttl_s=order.ttl_s,
            depth=order.depth,
            task=order.task,
        )
        return warrant_view(await self._book.mint(wanted, by=str(acting_operator())))

    async def lines(self) -> Sequence[WarrantLine]:
        """List what this node gave out, newest first."""
        return [
            WarrantLine(
                id=one.id,
                holder=one.holder,
                by=one.by,
                minted_at=one.minted_at,
                not_after=one.not_after,
            )
            for one in await self._book.minted()
        ]

    async def one(self, warrant: str) -> WarrantView:
        """Return one that this node gave out. Raises NotFoundError."""
        return warrant_view(await self._book.minted_one(warrant))

    async def verify(self, token: str) -> WarrantView:
        """Verify a warrant. Raises IdentityError."""
        return warrant_view(self._book.verify(token))

    async def revoke(self, order: WarrantRevokeOrder) -> Sequence[WarrantRevocationLine]:
        """Revoke what has a name. Raises BadInputError."""
        await self._book.revoke(
            order.kind, order.value, by=str(acting_operator()), reason=order.reason
        )
        return await self.revocations()

    async def revocations(self) -> Sequence[WarrantRevocationLine]:
        """List what is revoked, newest first."""
        return [
            WarrantRevocationLine(
                kind=one.kind, value=one.value, at=one.at, by=one.by, reason=one.reason
            )
            for one in self._book.revocations()
        ]

    async def root(self) -> WarrantRoot:
        """Return what others need to trust, or to distrust, warrants of this node."""
        signed = await self._book.signed_list()
        return WarrantRoot(root=self._book.root, revocation_list=b64encode(signed).decode())


def warrant_view(warrant: Warrant) -> WarrantView:
    """Return a warrant as people read it."""
    return WarrantView(
        id=warrant.id,
        issuer=warrant.issuer,
        holder=warrant.holder,
        not_after=warrant.not_after,
        depth=warrant.depth,
        links=[terms_text(one) for one in warrant.links],
        task=warrant.task,
        parents=list(warrant.parents),
        token=warrant.token,
    )
