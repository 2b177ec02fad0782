"""The vault as its operator uses it: every change is on the record, and who uses a secret learns of a new value."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hive.core.errors import StateError
from hive.core.secret import Secret
from hive.node.llm import NodeModels
from hive.web.secrets import SecretDesk, SecretLine

if TYPE_CHECKING:
    from hive.node.tools import NodeTools


class NodeSecrets(SecretDesk):
    """The secrets of one node."""

    def __init__(self, models: NodeModels, tools: "NodeTools | None" = None) -> None:
        self._tools = tools
        self._vault = models.vault
        self._models = models
        self._note = models.note

    async def put(self, name: str, secret: Secret) -> None:
        """Keep a secret, in place of one of the same name; who uses it has the new value from now on."""
        await self._vault.put(name, secret)
        await self._note("secret.set", {"name": name})
        await self._models.key_changed(name)

    async def lines(self) -> Sequence[SecretLine]:
        """Tell what is kept and who uses it."""
        return [
            SecretLine(
                name=one.name,
                set_at=one.set_at,
                used_at=one.used_at,
                used_by=self._users_of(one.name),
            )
            for one in await self._vault.list()
        ]

    async def remove(self, name: str) -> None:
        """Forget a secret.

        Raises:
            NotFoundError: there is none of that name.
            StateError: a model provider or a tool server uses it.

        """
        users = self._models.users_of(name)
        if users:
            raise StateError(
                f"The secret {name!r} is in use.",
                why=f"The model provider {users[0]!r} needs it.",
                fix=f"hive llm rm {users[0]}     or give it another value: hive secret set {name}",
            )
        servers = self._tools.users_of(name) if self._tools is not None else []
        if servers:
            raise StateError(
                f"The secret {name!r} is in use.",
                why=f"The tool server {servers[0]!r} needs it.",
                fix=f"hive tool rm {servers[0]}     or give it another value: hive secret set {name}",
            )
        await self._vault.remove(name)
        await self._note("secret.removed", {"name": name})

    def _users_of(self, name: str) -> list[str]:
        servers = self._tools.users_of(name) if self._tools is not None else []
        return [*self._models.users_of(name), *servers]

    async def rotate(self) -> int:
        """Seal all secrets under a new data key; return how many."""
        count = await self._vault.rotate()
        await self._note("secret.rotated", {"secrets": count})
        return count
