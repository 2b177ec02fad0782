"""Roles by Casbin: which role may ask which path, from a model and a list of permissions.

A path is given as the API's table has it: the noun, and how many segments follow (`/agents/2`). What stands in no line
is an admin's alone.
"""

import logging
from importlib.resources import as_file, files
from pathlib import Path
from typing import Final

import casbin  # type: ignore[import-untyped]

from hive.core.errors import ConfigError
from hive.security.roles import OperatorRole

KNOWN_MAX: Final = 2000


class CasbinRoles:
    """Asks Casbin, and remembers: there are as many answers as roles and paths."""

    def __init__(self, url: str) -> None:
        named = url.partition(":")[2]
        logging.getLogger("casbin").setLevel(logging.WARNING)
        folder = files("hive.security.policy") / "roles"
        try:
            with as_file(folder) as shipped:
                permissions = Path(named) if named else shipped / "roles.csv"
                permissions.read_bytes()
                self._enforcer = casbin.Enforcer(str(shipped / "model.conf"), str(permissions))
        except (OSError, RuntimeError, ValueError, IndexError) as error:
            raise ConfigError(
                "HIVE_ROLES_URL names no list of permissions.",
                why=str(error),
                fix="Write lines such as: p, viewer, /status/0, GET",
            ) from error
        self._known: dict[tuple[str, str, str], bool] = {}

    def allows(self, role: OperatorRole, method: str, path: str) -> bool:
        """Tell whether a role may ask a path."""
        if role is OperatorRole.ADMIN:
            # Whatever a list says, somebody has to be able to mend it.
            return True
        key = (role.value, path, method)
        found = self._known.get(key)
        if found is None:
            found = bool(self._enforcer.enforce(*key))
            if len(self._known) < KNOWN_MAX:
                self._known[key] = found
        return found
