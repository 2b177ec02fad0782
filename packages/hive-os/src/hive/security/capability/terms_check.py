"""Terms, compiled: which capabilities a call falls under, the most exact ones alone.

A tool that is named has its own conditions, also where `server.*` or `*` would let it pass without any.
"""

from functools import lru_cache
from typing import Final

from hive.core.call import Verb
from hive.core.errors import BadInputError
from hive.core.ids import printable
from hive.core.json import Json
from hive.security.capability.arguments import ArgumentsMatcher, fits, outside_of
from hive.security.capability.constraints import ANY_VALUE
from hive.security.capability.places import host_within, lexical_path, plain_host
from hive.security.capability.ports import ANY, CAPABILITIES_MAX, Capability, Terms

KNOWN_TARGETS_MAX: Final = 256
_OF_A_REQUEST: Final = frozenset({"method", "path"})
_Found = tuple[ArgumentsMatcher | None, ...]


class HostPattern:
    """A host of a capability with its ports; no port means every one."""

    __slots__ = ("name", "ports")

    def __init__(self, target: str) -> None:
        name, ports = split_host(target)
        self.name = name
        self.ports = frozenset(ports)

    def covers(self, host: str, port: int) -> bool:
        """Tell whether a connection is named."""
        return (not self.ports or port in self.ports) and host_within(host, self.name)


def split_host(target: str) -> tuple[str, tuple[int, ...]]:
    """Read `HOST`, `HOST:PORT,PORT`, `*.HOST`, `*`.

    Raises:
        BadInputError: it is none of these.

    """
    host, colon, ports = target.rpartition(":") if ":" in target else (target, "", "")
    if target.endswith("]"):
        host, colon, ports = target, "", ""
    numbers = tuple(
        int(one) if one.isascii() and one.isdigit() and len(one) <= 5 else 0
        for one in (ports.split(",") if colon else ())
    )
    bare = host.removeprefix("*.")
    plain = ANY if host == ANY else plain_host(bare)
    if not plain or any(not 0 < one < 65536 for one in numbers):
        raise BadInputError(
            f"{printable(target[:120])} is no host.",
            fix="Write api.example.org, api.example.org:8443 or *.example.org.",
        )
    return (f"*.{plain}" if bare != host else plain), numbers


class TermsCheck:
    """Judges calls by one link."""

    __slots__ = ("_exact", "_hosts", "_known", "_servers", "paths")

    def __init__(self, terms: Terms) -> None:
        if len(terms.capabilities) > CAPABILITIES_MAX:
            raise BadInputError(f"A warrant has at most {CAPABILITIES_MAX} capabilities.")
        self._exact: dict[tuple[Verb, str], _Found] = {}
        self._servers: dict[str, _Found] = {}
        self._hosts: list[tuple[HostPattern, ArgumentsMatcher | None]] = []
        self._known: dict[tuple[Verb, str], _Found] = {}
        self.paths: tuple[str, ...] | None = _paths(terms.paths)
        for one in terms.capabilities:
            self._take(one)

    def find(self, verb: Verb, target: str) -> _Found:
        """Return the conditions of which one has to hold; empty where nothing names the call."""
        found = self._known.get((verb, target))
        if found is None:
            found = self._look(verb, target)
            if len(self._known) < KNOWN_TARGETS_MAX:
                self._known[verb, target] = found
        return found

    def strays(self, found: list[tuple[str, Json]]) -> str:
        """Return the name of an argument that is a path outside of where this link lets go."""
        return "" if self.paths is None else outside_of(self.paths, found)

    def _take(self, one: Capability) -> None:
        made = matcher_of(one)
        if one.verb is Verb.REACH:
            self._hosts.append((HostPattern(one.target), made))
        elif one.verb is Verb.INVOKE and one.target.endswith(".*"):
            server = one.target[:-2]
            self._servers[server] = (*self._servers.get(server, ()), made)
        else:
            key = (one.verb, one.target)
            self._exact[key] = (*self._exact.get(key, ()), made)

    def _look(self, verb: Verb, target: str) -> _Found:
        if verb is Verb.REACH:
            return self._look_host(target)
        if target == ANY:
            return ()
        found = self._exact.get((verb, target))
        if found is None and verb is Verb.INVOKE:
            found = self._servers.get(target.partition(".")[0])
        return self._exact.get((verb, ANY), ()) if found is None else found

    def _look_host(self, target: str) -> _Found:
        host, _, port = target.rpartition(":")
        number = int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else 0
        plain = plain_host(host)
        if not plain or not number:
            return ()
        covering = [(one.name, made) for one, made in self._hosts if one.covers(plain, number)]
        if not covering:
            return ()
        best = max(_exactness(name) for name, _ in covering)
        return tuple(made for name, made in covering if _exactness(name) == best)


def matcher_of(one: Capability) -> ArgumentsMatcher | None:
    """Compile the conditions of a capability; None where it has none.

    Raises:
        BadInputError: its target or a condition cannot be used.

    """
    if not one.target.isascii() or not one.target.isprintable() or " " in one.target:
        raise BadInputError(
            f"{printable(one.target[:120])} cannot stand in a warrant.",
            why="A name is plain ASCII: another script has letters that look like these.",
        )
    if one.arguments is None:
        return None
    if one.verb not in (Verb.INVOKE, Verb.REACH):
        raise BadInputError("Only tools and hosts have conditions on arguments.")
    for name, _ in one.arguments:
        if not fits(name):
            raise BadInputError(f"{printable(name[:120])} is no name of an argument.")
    if one.verb is Verb.INVOKE:
        return ArgumentsMatcher(one.arguments)
    named = {name.removesuffix("?") for name, _ in one.arguments}
    if not named <= _OF_A_REQUEST:
        raise BadInputError("A host has conditions on `method` and `path`.")
    free = tuple((f"{name}?", ANY_VALUE) for name in sorted(_OF_A_REQUEST - named))
    return ArgumentsMatcher((*one.arguments, *free))


@lru_cache(maxsize=1024)
def check_of(terms: Terms) -> TermsCheck:
    """Compile terms, once for equal ones. Raises BadInputError."""
    return TermsCheck(terms)


def _exactness(name: str) -> int:
    if name == ANY:
        return 0
    return len(name) if name.startswith("*.") else 1 << 16


def _paths(given: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if given is None:
        return None
    plain = tuple(lexical_path(one) or "" for one in given)
    if not all(plain):
        raise BadInputError("A path of a warrant is plain: no `..`, no `~`, no percent sign.")
    return plain
