"""Roles of operators, read when the first token with a role is shown: most nodes have the one operator only."""

from hive.security.policy.drivers import ROLES
from hive.security.roles import OperatorRole, RoleBook


class LateRoles:
    """A book of roles that is opened when it is first needed."""

    def __init__(self, url: str) -> None:
        self._url = url
        ROLES.row(url)
        self._book: RoleBook | None = None

    def allows(self, role: OperatorRole, method: str, path: str) -> bool:
        """Tell whether a role may ask a path. Raises ConfigError where the book cannot be opened: then nobody may."""
        if self._book is None:
            self._book = ROLES.load(self._url)(self._url)
        return self._book.allows(role, method, path)
