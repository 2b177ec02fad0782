"""One node: the only place that picks engines and introduces the layers to each other.

`run_node` runs it; `open_offline` opens its records while none runs; `examine` looks at the machine.
"""

from hive.node.backup import restore_backup
from hive.node.doctor import examine
from hive.node.offline import open_offline
from hive.node.run import run_node

__all__ = ["examine", "open_offline", "restore_backup", "run_node"]
