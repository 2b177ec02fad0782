"""The doors as a sandbox sees them: a few sockets in its own folder, nothing else."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from pathlib import Path
from typing import Final, Protocol

from hive.core.ids import SandboxId
from hive.node.http import (
    CONNECTIONS_PER_SANDBOX_MAX,
    App,
    HttpServer,
    bind_path,
    from_sandbox,
)
from hive_guest.environment import TELEMETRY_OFF

GATE_PORT: Final = 4100
EGRESS_PORT: Final = 4101
INSIDE: Final = f"http://127.0.0.1:{GATE_PORT}"
PROXY: Final = f"http://127.0.0.1:{EGRESS_PORT}"


class ProxyDoor(Protocol):
    """The egress door as the listener needs it."""

    def serve_unix(
        self, path: str | Path, sandbox: SandboxId, *, mode: int = 0o666
    ) -> AbstractAsyncContextManager[None]:
        """Serve one sandbox's proxy socket."""
        ...


class IdentityDoor(Protocol):
    """The Workload API as the listener needs it."""

    def listen(
        self, sandbox: SandboxId, folder: Path
    ) -> AbstractAsyncContextManager[Mapping[str, str]]:
        """Serve one sandbox's identity; give what its agent finds in its environment."""
        ...


class SandboxDoors:
    """Opens `gate.sock`, `egress.sock` and `identity.sock` for a sandbox and tells its agent where they are."""

    def __init__(
        self, *, app: App, egress: ProxyDoor, identity: IdentityDoor | None = None
    ) -> None:
        self._app = app
        self._egress = egress
        self._identity = identity

    @asynccontextmanager
    async def listen(self, sandbox: SandboxId, directory: str) -> AsyncIterator[Mapping[str, str]]:
        """Serve the sockets while the context lasts."""
        folder = Path(directory)
        server = HttpServer(
            from_sandbox(self._app, sandbox), connections_max=CONNECTIONS_PER_SANDBOX_MAX
        )
        async with (
            self._egress.serve_unix(folder / "egress.sock", sandbox),
            self._identified(sandbox, folder) as identity,
        ):
            # The folder keeps strangers out; inside, the agent runs under another uid.
            await server.listen(bind_path(folder / "gate.sock", mode=0o666))
            try:
                yield {**agent_environment(), **identity}
            finally:
                await server.aclose()

    def _identified(
        self, sandbox: SandboxId, folder: Path
    ) -> AbstractAsyncContextManager[Mapping[str, str]]:
        if self._identity is None:
            return nullcontext({})
        return self._identity.listen(sandbox, folder)


def agent_environment() -> dict[str, str]:
    """Return what an agent finds in its environment besides its handle."""
    proxies = dict.fromkeys(
        ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY"), PROXY
    )
    return {
        **TELEMETRY_OFF,
        **proxies,
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "HIVE_URL": INSIDE,
        "HIVE_MCP_URL": f"{INSIDE}/mcp",
        "OPENAI_BASE_URL": f"{INSIDE}/v1",
        "OPENAI_API_BASE": f"{INSIDE}/v1",
        "ANTHROPIC_BASE_URL": INSIDE,
        "GOOGLE_GEMINI_BASE_URL": INSIDE,
        "GEMINI_API_BASE": f"{INSIDE}/v1beta",  # of litellm, which puts only `/models/...` behind it
    }
