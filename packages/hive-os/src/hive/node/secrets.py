"""The vault as its operator uses it: every change is on the record, and who uses a secret learns of a new value."""

from collections.abc import Sequence

from hive.core.errors import StateError
from hive.core.secret import Secret
from hive.node.llm import NodeModels
from hive.web.secrets import SecretDesk, SecretLine


class NodeSecrets(SecretDesk):
    """The secrets of one node."""

    def __init__(self, models: NodeModels) -> None:
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
                used_by=self._models.users_of(one.name),
            )
            for one in await self._vault.list()
        ]

    async def remove(self, name: str) -> None:
        """Forget a secret.

        Raises:
            NotFoundError: there is none of that name.
            StateError: a model provider uses it.

        """
        users = self._models.users_of(name)
        if users:
            raise StateError(
                f"The secret {name!r} is in use.",
                why=f"The model provider {users[0]!r} needs it.",
                fix=f"hive llm rm {users[0]}     or give it another value: hive secret set {name}",
            )
        await self._vault.remove(name)
        await self._note("secret.removed", {"name": name})

    async def rotate(self) -> int:
        """Seal all secrets under a new data key; return how many."""
        count = await self._vault.rotate()
        await self._note("secret.rotated", {"secrets": count})
        return count
