"""How a tool is called outside: `server__tool`, short enough for every model's provider.

A function's name at a provider has 64 letters, digits, `_` and `-` at most. What does not fit is shortened
and ends in a hash of its full name; a name that looks like such a one gets a hash as well, so no server can
choose a name that is another tool's.
"""

import re
from typing import Final

from hive.core.call import sha256_hex

NAME_MAX_CHARS: Final = 64
HASH_CHARS: Final = 16
_PLAIN: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_FOREIGN: Final = re.compile(r"[^A-Za-z0-9_-]")
_HASHED: Final = re.compile(r".*-[0-9a-f]{16}", re.DOTALL)


def outward_name(server: str, tool: str) -> str:
    """Return the name of a tool among those of all servers; the same on every start.

    A server's name has no `_`, so the first `__` parts the two for certain.
    """
    name = f"{server}__{tool}"
    if "_" not in server and _PLAIN.fullmatch(name) and not _HASHED.fullmatch(name):
        return name
    tail = "-" + sha256_hex(f"{server}\0{tool}".encode("utf-8", "replace"))[:HASH_CHARS]
    return _FOREIGN.sub("_", name)[: NAME_MAX_CHARS - len(tail)] + tail
