"""Foreign nodes on the operator's wire: who is known, challenges for newcomers, and answers to challenges of others."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from hive.web.chapters import Answer, ApiQuestion, Chapter, Lines, RouteKey


class ForeignNodeLine(msgspec.Struct, frozen=True, kw_only=True):
    """A node that is known here: its signing key, the bits of work it showed, and the machine that vouched for it."""

    node: str
    signing: str
    bits: int
    machine: str
    at: datetime
    by: str


class ChallengeOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The id of the node that shall become known (`hive status` on it)."""

    node: str


class ChallengeMade(msgspec.Struct, frozen=True, kw_only=True):
    """A challenge, and what its answer costs."""

    challenge: str
    bits: int
    tpm: bool
    ends_at: datetime


class AnswerOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A challenge of another node, and what this machine's TPM said to it (`tpm2_quote -m` and `-s`)."""

    challenge: str
    quote: bytes = b""
    quote_signature: bytes = b""


class AnswerMade(msgspec.Struct, frozen=True, kw_only=True):
    """What the other node takes."""

    answer: str


class QualifierMade(msgspec.Struct, frozen=True, kw_only=True):
    """What the quote of the TPM has to carry, in hexadecimal."""

    qualifier: str


class RegisterOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An answer to a challenge of this node."""

    answer: str


class NodesDesk(Protocol):
    """Who keeps the foreign nodes."""

    async def lines(self) -> Sequence[ForeignNodeLine]:
        """Tell who is known, by id."""
        ...

    async def challenge(self, order: ChallengeOrder) -> ChallengeMade:
        """Make a challenge. Raises InvalidIdError."""
        ...

    async def qualifier(self, order: AnswerOrder) -> QualifierMade:
        """Tell what a quote has to carry. Raises IdentityError."""
        ...

    async def answer(self, order: AnswerOrder) -> AnswerMade:
        """Answer a challenge of another node. Raises IdentityError."""
        ...

    async def register(self, order: RegisterOrder) -> ForeignNodeLine:
        """Make a node known. Raises BadInputError, IdentityError, ConflictError."""
        ...

    async def remove(self, node: str) -> ForeignNodeLine:
        """Know a node no longer. Raises NotFoundError."""
        ...


class NodesChapter(Chapter):
    """The paths."""

    def __init__(self, desk: NodesDesk) -> None:
        self._desk = desk
        self.answers: Mapping[RouteKey, Answer] = {
            ("GET", "nodes", 0): self._list,
            ("POST", "nodes", 0): self._register,
            ("DELETE", "nodes", 1): self._remove,
            ("POST", "node-challenges", 0): self._challenge,
            ("POST", "node-qualifiers", 0): self._qualifier,
            ("POST", "node-answers", 0): self._answer,
        }
        self.streams: Mapping[RouteKey, Lines] = {}

    async def _list(self, _question: ApiQuestion) -> object:
        return list(await self._desk.lines())

    async def _register(self, question: ApiQuestion) -> object:
        return await self._desk.register(question.read(RegisterOrder))

    async def _remove(self, question: ApiQuestion) -> object:
        return await self._desk.remove(question.rest[0])

    async def _challenge(self, question: ApiQuestion) -> object:
        return await self._desk.challenge(question.read(ChallengeOrder))

    async def _qualifier(self, question: ApiQuestion) -> object:
        return await self._desk.qualifier(question.read(AnswerOrder))

    async def _answer(self, question: ApiQuestion) -> object:
        return await self._desk.answer(question.read(AnswerOrder))
