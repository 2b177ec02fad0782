"""What a NATS server is told so that SPIFFE ids are its users: one account for each trust domain.

With `verify_and_map` the server takes the URI of a client's certificate as the name of its user, and knows nobody
else. Accounts do not hear each other, so one trust domain never sees another's messages. What an id may do follows
from the id alone: nodes carry the mesh, an agent reaches its own inbox and status.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from hive.core.errors import InvalidIdError
from hive.core.ids import agent_id
from hive.security.identity.ports import SpiffeId

NODE_SUBJECTS: Final = ("hive.>", "$JS.API.>", "$JS.ACK.>", "$KV.>", "_INBOX.>")


@dataclass(frozen=True, slots=True, kw_only=True)
class BusPermissions:
    """What an id may publish and hear."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


def permissions_of(spiffe_id: SpiffeId) -> BusPermissions:
    """Return what an id may do on the bus.

    Raises:
        InvalidIdError: it is neither a node's nor an agent's.

    """
    kind, _, name = spiffe_id.path.removeprefix("/").partition("/")
    if kind == "node" and name:
        return BusPermissions(publish=NODE_SUBJECTS, subscribe=NODE_SUBJECTS)
    if kind == "agent":
        # One name, so that no id can widen a subject with a dot or a wildcard.
        own = agent_id(name)
        inbox = f"_INBOX_{own}.>"
        return BusPermissions(
            publish=(f"hive.agents.{own}.status",),
            subscribe=(f"hive.agents.{own}.inbox", inbox),
        )
    raise InvalidIdError(f"{spiffe_id} has no place on the bus.", why="It is no node and no agent.")


def bus_configuration(
    members: Iterable[SpiffeId], *, certificate: str, key: str, roots: str
) -> str:
    """Return the part of a NATS server's configuration that knows these ids; paths are the server's own.

    Raises:
        InvalidIdError: one of them has no place on the bus.

    """
    accounts: dict[str, list[str]] = {}
    for one in sorted(set(members), key=str):
        allowed = permissions_of(one)
        accounts.setdefault(one.trust_domain, []).append(
            f'      {{ user: "{one}", permissions: {{ publish: {_listed(allowed.publish)}, '
            f"subscribe: {_listed(allowed.subscribe)} }} }}"
        )
    blocks = "\n".join(
        f'  "{domain}": {{\n    jetstream: enabled\n    users: [\n'
        + ",\n".join(users)
        + "\n    ]\n  }"
        for domain, users in accounts.items()
    )
    return (
        f'tls {{ cert_file: "{certificate}", key_file: "{key}", ca_file: "{roots}", '
        f"verify_and_map: true, timeout: 5 }}\naccounts {{\n{blocks}\n}}\n"
    )


def _listed(subjects: Iterable[str]) -> str:
    return "[" + ", ".join(f'"{one}"' for one in subjects) + "]"
