"""From a model's name to the providers that are asked for it, in order. A table never changes: a new one takes its place."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from hive.protocols.models.routing.live import LiveUpstream
from hive.protocols.models.routing.registry import DEFAULT_NAME, RouteRow

CACHED_MAX: Final = 1024
OTHERS: Final = "*"
_OPENAI: Final = (
    "gpt-",
    "o1",
    "o3",
    "o4",
    "chatgpt-",
    "codex-",
    "text-embedding-3",
    "text-embedding-ada",
)
_OF_HOSTS: Final = {
    "api.openai.com": _OPENAI,
    "api.anthropic.com": ("claude-",),
    "generativelanguage.googleapis.com": ("gemini-", "gemma-"),
}
_OF_SCHEMES: Final = {"anthropic": ("claude-",), "gemini": ("gemini-",), "azure": _OPENAI}


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteTarget:
    """One provider and the model's name there."""

    live: LiveUpstream
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteTable:
    """All providers and routes of one moment."""

    upstreams: Mapping[str, LiveUpstream]
    routes: tuple[RouteRow, ...] = ()
    _cache: dict[str, tuple[RouteTarget, ...]] = field(default_factory=dict)

    def resolve(self, model: str) -> tuple[RouteTarget, ...]:
        """Return whom to ask for a model, in order; empty where nobody is."""
        found = self._cache.get(model)
        if found is None:
            found = self._resolve(model)
            if len(self._cache) < CACHED_MAX:
                self._cache[model] = found
        return found

    def names(self) -> Sequence[str]:
        """Return the names that are asked for as they stand: aliases without a star."""
        return [one.alias for one in self.routes if not one.alias.endswith("*")]

    def _resolve(self, model: str) -> tuple[RouteTarget, ...]:
        for route in self.routes:
            if route.alias == model and not model.endswith("*"):
                return self._targets(route, model)
        name, slash, rest = model.partition("/")
        if slash and rest and name in self.upstreams:
            return (RouteTarget(live=self.upstreams[name], model=rest),)
        patterns = [
            route
            for route in self.routes
            if route.alias.endswith("*")
            and route.alias != OTHERS
            and model.startswith(route.alias[:-1])
        ]
        if patterns:
            return self._targets(max(patterns, key=lambda one: len(one.alias)), model)
        live = self._of_own_models(model) or self._listing(model)
        if live is not None:
            return (RouteTarget(live=live, model=model),)
        return self._others(model)

    def _targets(self, route: RouteRow, model: str) -> tuple[RouteTarget, ...]:
        found = []
        for target in route.targets:
            name, _, named = target.partition("/")
            live = self.upstreams.get(name)
            if live is not None:
                found.append(RouteTarget(live=live, model=named or model))
        return tuple(found)

    def _of_own_models(self, model: str) -> LiveUpstream | None:
        """Return the first provider whose own models are named so."""
        for live in self.upstreams.values():
            if live.trusted and model.startswith(_own_prefixes(live.row.url)):
                return live
        return None

    def _listing(self, model: str) -> LiveUpstream | None:
        """Return the first provider that lists the model; never one that merely was found."""
        for live in self.upstreams.values():
            if live.trusted and model in live.known:
                return live
        return None

    def _others(self, model: str) -> tuple[RouteTarget, ...]:
        for route in self.routes:
            if route.alias == OTHERS:
                return self._targets(route, model)
        default = self.upstreams.get(DEFAULT_NAME)
        if default is not None and default.row.url.startswith("scripted:"):
            # Who added a real provider does not want made-up answers for a name that nobody claims.
            added = (
                live for live in self.upstreams.values() if live.trusted and live is not default
            )
            default = next(added, default)
        return () if default is None else (RouteTarget(live=default, model=model),)


def _own_prefixes(url: str) -> tuple[str, ...]:
    scheme, _, address = url.partition(":")
    return _OF_SCHEMES.get(scheme, ()) or _OF_HOSTS.get(urlsplit(address).hostname or "", ())
