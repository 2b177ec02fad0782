"""An agent that becomes a component: `hive build ./greeter.py:agent`, then `hive run ./greeter.wasm`.

What it needs of the world it asks the node for; it has no files, no sockets and no environment of its own.
"""

import hive_guest
from hive_guest.tools import tools


def agent(message: str) -> object:
    """Greet; or ask a model, a host, another agent, the tools, or whoever wrote."""
    word, _, rest = message.strip().partition(" ")
    match word:
        case "model":
            return hive_guest.ask(rest)
        case "fetch":
            status, _, body = hive_guest.fetch(rest)
            return f"{status}: {len(body)} bytes"
        case "agent":
            return hive_guest.call(rest, "hello")
        case "tools":
            return ", ".join(one["name"] for one in tools()) or "none"
        case "who":
            hive_guest.ask_input("Who are you?")
        case "count":
            return (f"{number} " for number in range(1, 4))
    hive_guest.log("greeting")
    return f"Hello, {message.strip() or 'stranger'}."
