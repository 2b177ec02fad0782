"""A driver table: URL scheme to class, loaded only when it is asked for.

One table a port. `hive doctor` and the engine reference are printed from the tables, so what they say is
what the code does. Third parties add rows under the entry point group `hive.drivers`, named
`<port>.<scheme>`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module, metadata
from typing import Final, Generic, TypeVar

from hive.core.errors import ConfigError, MissingExtraError, UnknownSchemeError

PortT = TypeVar("PortT")
ENTRY_POINT_GROUP: Final = "hive.drivers"


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverRow:
    """One row: where the driver lives (`module:Class`), what it says of itself, what it needs."""

    scheme: str
    target: str
    summary: str
    extra: str = ""


@dataclass(frozen=True, kw_only=True)
class Table(Generic[PortT]):
    """All drivers of one port; the first row is the default."""

    port: str
    setting: str
    rows: tuple[DriverRow, ...]

    def __iter__(self) -> Iterator[DriverRow]:
        yield from self.rows
        known = {row.scheme for row in self.rows}
        for point in metadata.entry_points(group=ENTRY_POINT_GROUP):
            port, _, scheme = point.name.partition(".")
            if port == self.port and scheme not in known:
                yield DriverRow(scheme=scheme, target=point.value, summary=f"from {point.value}")

    def row(self, url: str) -> DriverRow:
        """Return the row that a URL names.

        Raises:
            UnknownSchemeError: no row has its scheme.

        """
        scheme = url.partition(":")[0]
        for row in self:
            if row.scheme == scheme:
                return row
        raise UnknownSchemeError(
            f"{self.setting} names no known driver.",
            why=f"It has the scheme {scheme!r}; known: {', '.join(row.scheme for row in self)}.",
            fix="Correct it, or run `hive doctor`.",
        )

    def load(self, url: str) -> type[PortT]:
        """Import and return the class behind a URL.

        Raises:
            UnknownSchemeError: no row has its scheme.
            MissingExtraError: the engine's package is not installed.

        """
        row = self.row(url)
        module_name, _, class_name = row.target.partition(":")
        try:
            module = import_module(module_name)
        except ModuleNotFoundError as error:
            if not row.extra:
                raise
            raise MissingExtraError(
                f"{self.setting}={row.scheme}: needs a package that is not installed.",
                why=f"The module {error.name!r} is missing.",
                fix=f"pip install 'hive-os[{row.extra}]'",
            ) from error
        driver: type[PortT] = getattr(module, class_name)
        return driver


def query_of(url: str) -> Mapping[str, str]:
    """Return the query of a driver URL as a mapping.

    Raises:
        ConfigError: a key stands twice.

    """
    query: dict[str, str] = {}
    for pair in filter(None, url.partition("?")[2].split("&")):
        key, _, value = pair.partition("=")
        if key in query:
            raise ConfigError(
                "A driver URL has a key twice.",
                why=f"{key!r} stands twice after the question mark.",
                fix="Remove one of them.",
            )
        query[key] = value
    return query
