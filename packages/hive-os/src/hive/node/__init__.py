"""One node: the only place that picks engines and introduces the layers to each other.

`run_node` runs it; `open_offline` opens its records while none runs; `examine` looks at the machine.
Each is imported when it is asked for: a node that starts reads neither backups nor the doctor.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hive.node.backup import restore_backup
    from hive.node.doctor import examine
    from hive.node.offline import open_offline
    from hive.node.run import run_node

__all__ = ["examine", "open_offline", "restore_backup", "run_node"]
_HOMES: Final = {
    "examine": "hive.node.doctor",
    "open_offline": "hive.node.offline",
    "restore_backup": "hive.node.backup",
    "run_node": "hive.node.run",
}


def __getattr__(name: str) -> object:
    """Return a public name from the module that it lives in."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home), name)
