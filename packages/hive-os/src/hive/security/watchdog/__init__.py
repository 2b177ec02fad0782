"""Who misbehaves, by the node's own record: rules over what was decided and what became of it, and what follows.

The watchdog reads lines of the ledger, never anything that an agent says of itself. A rule that fires raises an alarm; the
rule says whether it is only told, opens the agent's circuit, or puts the agent into quarantine: no turn, no call, no
identity, no write to a memory, and everything that shows what happened stays.
"""

from hive.security.watchdog.breaker import Breakers
from hive.security.watchdog.quarantine import Confinement, Quarantine
from hive.security.watchdog.reputation import RecentTally, Reputation
from hive.security.watchdog.rules import Reaction, WatchRule, read_rules, shipped_rules
from hive.security.watchdog.watch import Alarm, Watch

__all__ = (
    "Alarm",
    "Breakers",
    "Confinement",
    "Quarantine",
    "Reaction",
    "RecentTally",
    "Reputation",
    "Watch",
    "WatchRule",
    "read_rules",
    "shipped_rules",
)
