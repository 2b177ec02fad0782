"""The node's model providers: the one of its settings, those that an operator added, and Ollama where it runs.

What is added or routed is kept in the database and holds from that moment on, without a restart.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

import anyio
import msgspec
from anyio import to_thread

from hive.core.clock import Clock
from hive.core.errors import (
    ConfigError,
    ConflictError,
    HiveError,
    NotFoundError,
    StateError,
    UnknownSchemeError,
)
from hive.core.json import Json
from hive.core.randomness import Randomness
from hive.core.secret import Secret
from hive.core.settings import Settings
from hive.engines.ports import Database
from hive.node.llm_question import tried
from hive.protocols.models.drivers import UPSTREAMS, with_authorities
from hive.protocols.models.ports import Upstream
from hive.protocols.models.routing import (
    PRESETS,
    ModelRegistry,
    ModelRouter,
    RouteRow,
    UpstreamRow,
    UpstreamState,
)
from hive.protocols.models.routing.options import UpstreamOptions, read_options
from hive.protocols.models.routing.registry import DEFAULT_NAME, checked_route, upstream_name
from hive.security.vault import Vault
from hive.web.llm import LlmOrder, LlmOverview, LlmProvider, LlmRoute, LlmTried, ModelDesk
from hive.web.spend import UpstreamHealth
from hive.web.values import Finding

log: Final = logging.getLogger(__name__)
SECRET_PREFIX: Final = "llm-"  # noqa: S105  the beginning of names, not a secret
OLLAMA: Final = "ollama"
OLLAMA_EVERY_S: Final = 60.0
OLLAMA_WAIT_S: Final = 0.5
MODELS_TOLD_MAX: Final = 200
Note = Callable[[str, dict[str, Json]], Awaitable[None]]


class NodeModels(ModelDesk):
    """All model providers of one node. Open it with `opened_models`."""

    def __init__(
        self,
        *,
        settings: Settings,
        database: Database,
        vault: Vault,
        note: Note,
        clock: Clock,
        randomness: Randomness,
    ) -> None:
        self._settings = settings
        self._registry = ModelRegistry(database=database, clock=clock)
        self.note = note
        self._clock = clock
        self._lock = anyio.Lock()
        self.vault = vault
        self.on_change: Callable[[], None] = lambda: None
        self.router = ModelRouter(open_one=self._opened, clock=clock, randomness=randomness)

    async def load(self) -> None:
        """Open the provider of the settings and all that were kept.

        Raises:
            ConfigError: `HIVE_MODELS` cannot be used; one that was kept and cannot be opened is only told.

        """
        await self.router.add(UpstreamRow(name=DEFAULT_NAME, url=self._settings.models))
        for row in await self._registry.upstreams():
            await self.router.add(row, strict=False)
        self.router.restore(await self._registry.routes())
        self.on_change()

    @property
    def only_scripted(self) -> bool:
        """Tell whether nobody but the script answers."""
        states = self.router.states()
        return all(one.row.url.startswith("scripted:") for one in states if one.trusted)

    async def look_around(self) -> None:
        """Learn the models of those that were kept, and look for Ollama, until cancelled."""
        for state in self.router.states():
            if state.row.name != DEFAULT_NAME or state.row.url.startswith("scripted:"):
                await self.router.learn(self.router.live(state.row.name))
        # Its import would hold the node's loop for a moment.
        await to_thread.run_sync(UPSTREAMS.load, f"{OLLAMA}:")
        while self._settings.ollama_url:
            await self._find_ollama()
            await anyio.sleep(OLLAMA_EVERY_S)

    async def overview(self) -> LlmOverview:
        """Tell of all providers and routes."""
        await self.router.models()
        routes = [
            LlmRoute(alias=one.alias, targets=list(one.targets)) for one in self.router.routes()
        ]
        return LlmOverview(
            providers=[_provider(one) for one in self.router.states()], routes=routes
        )

    async def add(self, order: LlmOrder) -> LlmProvider:
        """Add a provider, open it, and keep it.

        Raises:
            ConfigError: the URL, its options or its key cannot be used.
            ConflictError: there is one of that name.
            NotFoundError: the vault has no secret of that name.

        """
        row = await self._row_of(order)
        async with self._lock:
            if row.name in {one.name for one in await self._registry.upstreams()}:
                raise ConflictError(
                    f"There is a model provider {row.name!r} already.",
                    fix=f"hive llm rm {row.name}     or choose another name",
                )
            if order.key:
                await self.vault.put(row.secret, Secret(order.key))
            try:
                await self.router.add(row)
                await self._registry.add(row)
            except HiveError:
                if order.key:
                    await self.vault.remove(row.secret)
                raise
        self.on_change()
        await self.note("llm.added", {"name": row.name, "url": row.url, "secret": row.secret})
        live = self.router.live(row.name)
        await self.router.learn(live)
        return next(_provider(one) for one in self.router.states() if one.row.name == row.name)

    async def remove(self, name: str) -> None:
        """Take a provider away; questions that are under way end first.

        Raises:
            NotFoundError: there is none of that name.
            StateError: a route leads there, or it is not one that was added.

        """
        named = {one.row.name for one in self.router.states()}
        if name not in named and any(one.alias == name for one in self.router.routes()):
            raise NotFoundError(
                f"{name!r} is a route, not a model provider.",
                fix=f"hive llm use {name} --rm",
            )
        live = self.router.live(name)
        if name == DEFAULT_NAME or not live.trusted:
            setting = "HIVE_MODELS" if name == DEFAULT_NAME else "HIVE_OLLAMA_URL"
            raise StateError(
                f"The model provider {name!r} was not added.",
                why=f"It comes from {setting}.",
                fix=f"Change {setting} and start again.",
            )
        async with self._lock:
            await self._registry.remove(name)
            self.router.remove(name)
            if live.row.secret == SECRET_PREFIX + name:
                await self.vault.remove(live.row.secret)
        self.on_change()
        await self.note("llm.removed", {"name": name})

    async def try_one(self, name: str, model: str) -> LlmTried:
        """Really ask a provider something tiny, whatever its breaker says."""
        live = self.router.live(name)
        await self.router.learn(live)
        return await tried(live, model, self._clock)

    async def use(self, route: LlmRoute) -> None:
        """Lead a name somewhere; without a target, nowhere any more.

        Raises:
            NotFoundError: a target's provider, or the route to be taken away, is not there.
            BadInputError: the name or a target has the wrong form.

        """
        row = RouteRow(alias=route.alias, targets=tuple(route.targets))
        async with self._lock:
            others = [one for one in self.router.routes() if one.alias != route.alias]
            if not route.targets:
                await self._registry.unuse(route.alias)
                self.router.restore(others)
            else:
                self.router.check(checked_route(row))
                await self._registry.use(row)
                self.router.restore([*others, row])
        await self.note("llm.routed", {"alias": route.alias, "targets": list(route.targets)})

    async def names(self) -> Sequence[str]:
        """Return the names that an agent may ask for."""
        return await self.router.models()

    async def key_changed(self, secret: str) -> None:
        """Open the providers that use a secret anew: it has another value now."""
        for state in self.router.states():
            if state.row.secret == secret:
                await self.router.add(state.row, strict=False)

    def users_of(self, secret: str) -> list[str]:
        """Return the providers that use a secret."""
        return [one.row.name for one in self.router.states() if one.row.secret == secret]

    def health(self) -> Sequence[UpstreamHealth]:
        """Tell how each provider stands, from memory."""
        return [
            UpstreamHealth(
                name=one.row.name,
                state=_word(one),
                detail=one.problem or f"{one.answered} answered, {one.failed} failed",
                healthy=not one.problem and one.breaker == "closed",
            )
            for one in self.router.states()
        ]

    async def findings(self) -> Sequence[Finding]:
        """Ask every provider for its models, and tell what it said."""
        await self.router.models()
        alone = self.only_scripted
        return [_finding(one, alone=alone) for one in self.router.states()]

    @asynccontextmanager
    async def _opened(self, row: UpstreamRow) -> AsyncIterator[Upstream]:
        """Open one provider with its key."""
        if row.name == DEFAULT_NAME:
            key = self._settings.model_key
        else:
            key = await self.vault.get(row.secret) if row.secret else Secret("")
        url = with_wires(row.url, row.options.wires)
        url = with_authorities(url, self._settings.ssl_cert_file)
        timeout_s = row.options.connect_s
        driver = UPSTREAMS.load(url)
        async with driver.open(url, key=key, clock=self._clock, timeout_s=timeout_s) as upstream:
            yield upstream

    async def _row_of(self, order: LlmOrder) -> UpstreamRow:
        name = upstream_name(order.name)
        preset = PRESETS.get(order.url or name)
        url = preset.url if preset else order.url
        if preset and preset.needs_key and not (order.key or order.secret):
            raise ConfigError(
                f"{preset.about} needs a key.",
                why="None was given.",
                fix=f"hive llm add {name} --key-from-stdin     or --key-env VAR, or --key SECRET",
            )
        try:
            UPSTREAMS.row(url)
        except UnknownSchemeError as error:
            known = ", ".join((*PRESETS, *(f"{row.scheme}:" for row in UPSTREAMS)))
            raise UnknownSchemeError(
                "That is no address of a model provider.",
                why=f"Known: {known}.",
                fix=f"hive llm add {name} openai:https://host/v1",
            ) from error
        if order.secret and order.secret not in {one.name for one in await self.vault.list()}:
            raise NotFoundError(
                f"There is no secret {order.secret[:100]!r}.",
                fix=f"hive secret set {order.secret[:100]}",
            )
        usual = {"limit_field": preset.limit_field} if preset and preset.limit_field else {}
        return UpstreamRow(
            name=name,
            url=url,
            secret=order.secret or (SECRET_PREFIX + name if order.key else ""),
            options=read_options(msgspec.json.encode({**usual, **order.options}).decode()),
            added_at=self._clock.now(),
        )

    async def _find_ollama(self) -> None:
        """Ask the address where Ollama listens; who answers is added, but answers only who names it."""
        if any(one.row.name == OLLAMA for one in self.router.states()):
            return
        row = UpstreamRow(name=OLLAMA, url=f"ollama:{self._settings.ollama_url}")
        try:
            with anyio.move_on_after(OLLAMA_WAIT_S):
                async with self._opened(row) as upstream:
                    if not await upstream.models():
                        return
                await self.router.add(row, trusted=False)
                await self.router.learn(self.router.live(OLLAMA))
        except HiveError as error:
            log.info("models.ollama_not_asked", extra={"error": error.what})


@asynccontextmanager
async def opened_models(models: NodeModels) -> AsyncIterator[NodeModels]:
    """Hold all providers; leaving the context closes them."""
    async with models.router.running():
        await models.load()
        yield models


def with_wires(url: str, wires: str) -> str:
    """Return a driver URL that names these wires instead of its own; as it is where there are none."""
    if not wires:
        return url
    address, _, query = url.partition("?")
    kept = [one for one in query.split("&") if one and not one.startswith("wires=")]
    return f"{address}?{'&'.join([*kept, f'wires={wires}'])}"


def _word(state: UpstreamState) -> str:
    if state.problem:
        return "broken"
    if state.breaker == "half-open":
        return "trying"
    return "resting" if state.breaker == "open" or state.rest_s else "ready"


def _provider(state: UpstreamState) -> LlmProvider:
    row, default = state.row, UpstreamOptions()
    added = "added" if state.trusted else "found"
    origin = "HIVE_MODELS" if row.name == DEFAULT_NAME else added
    return LlmProvider(
        name=row.name,
        url=row.url,
        state=_word(state),
        origin=origin,
        secret=row.secret,
        problem=state.problem,
        rest_s=round(state.rest_s, 1),
        wires=sorted(one.name.lower() for one in state.dialects),
        models=list(state.models[:MODELS_TOLD_MAX]),
        options={
            name: value
            for name in row.options.__struct_fields__
            if (value := getattr(row.options, name)) != getattr(default, name)
        },
        under_way=state.under_way,
        waiting=state.waiting,
        answered=state.answered,
        failed=state.failed,
        first_byte_ms=None if state.first_byte_ms is None else round(state.first_byte_ms, 1),
        added_at=row.added_at,
    )


def _finding(state: UpstreamState, *, alone: bool) -> Finding:
    name, row = state.row.name, state.row
    if row.url.startswith("scripted:"):
        return Finding(
            section="models",
            name=name,
            state="degraded" if alone else "info",
            detail="no model: answers are scripted",
            fix="Add one: hive llm add openai --key-from-stdin" if alone else "",
        )
    if state.problem or not state.models:
        return Finding(
            section="models",
            name=name,
            state="failed" if state.problem else "unverified",
            detail=state.problem or f"{row.url} names no models; it may still answer",
            fix=f"hive llm test {name}     asks it something",
        )
    return Finding(
        section="models",
        name=name,
        state="ok",
        detail=f"{row.url} answers; {len(state.models)} models",
    )
