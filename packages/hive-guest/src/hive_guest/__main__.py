"""Where a guest begins: find the agent, say hello to the node, then run one turn after the other.

    python -I .../hive_guest/__main__.py --source FOLDER --path FILE [--attribute NAME]
    python -I .../hive_guest/__main__.py [--source FOLDER] --command -- ARGV...
    python -I .../hive_guest/__main__.py [--source FOLDER] --a2a-command -- ARGV...
    python -I .../hive_guest/__main__.py --remote URL

The socket to the node is the descriptor that `HIVE_TURN_FD` names (3).
"""

import os
import sys


def _find_package() -> None:
    """Make `hive_guest` importable without opening the folder around it to the agent."""
    here = os.path.dirname(os.path.abspath(__file__))  # pathlib costs 5 ms
    sys.path[:] = [entry for entry in sys.path if entry != here]
    if "hive_guest" not in sys.modules:
        sys.path.insert(0, os.path.dirname(here))
        import hive_guest  # noqa: F401

        del sys.path[0]


if __name__ == "__main__":
    _find_package()
    from hive_guest.start import main

    sys.exit(main(sys.argv[1:]))
