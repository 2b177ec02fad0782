"""What the operator's side of tools needs of the layers below it."""

from typing import Protocol

from hive.protocols.mcp.ports import ServerSpec


class ToolServers(Protocol):
    """The hub's registry as its operator changes it. A spec that is added or enabled holds at once."""

    async def add(self, spec: ServerSpec) -> object:
        """Keep a spec. Raises ConflictError."""
        ...

    async def remove(self, name: str) -> None:
        """Forget a spec and end its connections. Raises NotFoundError."""
        ...

    async def set_enabled(self, name: str, enabled: bool) -> object:  # noqa: FBT001  agreed with the hub
        """Switch a server on or off. Raises NotFoundError."""
        ...

    async def refresh(self, name: str) -> object:
        """Connect and list anew. Raises NotFoundError, EngineError, StateError, McpError."""
        ...


class DefinitionPins(Protocol):
    """Who keeps which definitions may be used."""

    async def approve(self, full_name: str, digest: str, *, by: str) -> object:
        """Let a definition be used. Raises NotFoundError, StateError: it changed again."""
        ...

    async def forget(self, server: str) -> None:
        """Forget what was approved of a server."""
        ...
