"""Where keys, pins and the audit lie when nobody says otherwise: `$HIVE_A2A_HOME`, or `~/.hive-a2a`."""

import os
import re
from pathlib import Path
from typing import Final

VARIABLE: Final = "HIVE_A2A_HOME"
_UNSAFE: Final = re.compile(r"[^a-z0-9]+")


def home() -> Path:
    """Return the folder; whoever writes into it makes it."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else Path.home() / ".hive-a2a"


def folder_of(name: str) -> Path:
    """Return the folder of a server by the name in its card; two names never share one by accident."""
    word = _UNSAFE.sub("-", name.lower()).strip("-")[:64] or "agent"
    return home() / "servers" / word
