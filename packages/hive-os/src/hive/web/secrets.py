"""The vault on the operator's wire: `/api/secrets`. Secrets go in and never come out."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from hive.core.errors import NotFoundError
from hive.core.secret import Secret
from hive.web.chapters import Answer, ApiQuestion, Chapter, Lines, RouteKey


class SecretOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A secret to be kept."""

    name: str
    value: str

    def __repr__(self) -> str:
        return f"SecretOrder(name={self.name!r})"


class SecretLine(msgspec.Struct, frozen=True, kw_only=True):
    """What may be told of a secret."""

    name: str
    set_at: datetime
    used_at: datetime | None = None
    used_by: list[str] = []


class SecretsRotated(msgspec.Struct, frozen=True, kw_only=True):
    """How many secrets were sealed anew."""

    secrets: int


class Rekeyed(msgspec.Struct, frozen=True, kw_only=True):
    """What another master key wraps; `kept` is false where it must be put into the settings by hand."""

    content_keys: int
    vault_keys: int
    push_configs: int
    kept: bool


class SecretDesk(Protocol):
    """Who keeps the secrets."""

    async def put(self, name: str, secret: Secret) -> None:
        """Keep a secret, in place of one of the same name."""
        ...

    async def lines(self) -> Sequence[SecretLine]:
        """Tell what is kept."""
        ...

    async def remove(self, name: str) -> None:
        """Forget a secret. Raises NotFoundError, StateError."""
        ...

    async def rotate(self) -> int:
        """Seal all secrets under a new key; return how many."""
        ...


class SecretsChapter(Chapter):
    """The paths of the vault."""

    def __init__(self, desk: SecretDesk) -> None:
        self._desk = desk
        self.answers: Mapping[RouteKey, Answer] = {
            ("GET", "secrets", 0): self._list,
            ("POST", "secrets", 0): self._put,
            ("POST", "secrets", 1): self._rotate,
            ("DELETE", "secrets", 1): self._remove,
        }
        self.streams: Mapping[RouteKey, Lines] = {}

    async def _list(self, _question: ApiQuestion) -> object:
        return list(await self._desk.lines())

    async def _put(self, question: ApiQuestion) -> object:
        order = question.read(SecretOrder)
        await self._desk.put(order.name, Secret(order.value))
        return {"set": order.name}

    async def _rotate(self, question: ApiQuestion) -> object:
        if question.rest[0] != "rotate":
            raise NotFoundError("The operator API has no such path.")
        return SecretsRotated(secrets=await self._desk.rotate())

    async def _remove(self, question: ApiQuestion) -> object:
        await self._desk.remove(question.rest[0])
        return {"removed": question.rest[0]}
