"""A model provider on a port that speaks one wire and nothing else: the scripted model, for nodes to ask."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager

from anyio.from_thread import start_blocking_portal

from hive.core.clock import SystemClock
from hive.core.secret import Secret
from hive.core.settings import Settings
from hive.protocols.models import ModelsDoor
from hive.protocols.models.drivers.scripted import ScriptedUpstream
from hive.protocols.models.ports import Dialect, ModelAnswer, ModelRequest, Upstream
from hive.testing.loopback import serve_app
from hive.testing.rehearsal_gate import SANDBOX, RehearsalGate


class OneWire:
    """A provider of which one wire is left; it counts the questions."""

    def __init__(self, inner: Upstream, dialect: Dialect) -> None:
        self._inner = inner
        self.dialects = frozenset({dialect})
        self.asked = 0

    def ask(self, request: ModelRequest) -> AbstractAsyncContextManager[ModelAnswer]:
        """Pass a question on."""
        self.asked += 1
        return self._inner.ask(request)

    async def models(self) -> Sequence[str]:
        """Return the names of the rules."""
        return await self._inner.models()


@asynccontextmanager
async def _serving(dialect: Dialect, rules: str) -> AsyncIterator[tuple[str, OneWire]]:
    settings, clock = Settings(), SystemClock()
    opened = ScriptedUpstream.open(
        f"scripted:{rules}", key=Secret(""), clock=clock, timeout_s=settings.request_timeout_s
    )
    async with opened as scripted:
        upstream = OneWire(scripted, dialect)
        door = ModelsDoor(gate=RehearsalGate(), upstream=upstream, settings=settings, clock=clock)
        async with serve_app(door, sandbox=SANDBOX) as url:
            yield url, upstream


@contextmanager
def provider_of(dialect: Dialect, rules: str) -> Iterator[tuple[str, OneWire]]:
    """Serve it in a loop of its own; its key is the rehearsed gate's handle."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(_serving(dialect, rules)) as running,
    ):
        yield running
