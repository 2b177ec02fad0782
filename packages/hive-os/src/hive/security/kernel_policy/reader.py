"""YAML as policy files may be written: plain tables, lists and scalars, each with the line it stands on.

Read from events, so that nothing is built before it was counted. There are no anchors and aliases (what a few lines
of them unfold to fills a memory), no tags, no merge keys, and no key twice: of two values of one key, one would be
ignored. A field that nobody took is refused by name when the table is done.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NoReturn, TypeAlias

import yaml  # type: ignore[import-untyped]

from hive.core.errors import PolicyError
from hive.core.ids import printable

FILE_MAX_BYTES: Final = 1 << 20
VALUES_MAX: Final = 50_000
DEPTH_MAX: Final = 32
DOCUMENTS_MAX: Final = 200
_NULLS: Final = ("", "~", "null", "Null", "NULL")
_TRUE: Final = ("true", "True", "TRUE")
_FALSE: Final = ("false", "False", "FALSE")

Value: TypeAlias = "YamlText | YamlList | YamlTable"


@dataclass(frozen=True, slots=True)
class YamlText:
    """A scalar as it is written; `plain` where it bears no quotes."""

    text: str
    line: int
    plain: bool = False

    @property
    def missing(self) -> bool:
        """Tell whether it is YAML's null."""
        return self.plain and self.text in _NULLS


@dataclass(frozen=True, slots=True)
class YamlList:
    """A list."""

    items: list["Value"]
    line: int


@dataclass(slots=True)
class YamlTable:
    """A table whose fields are taken one by one; `done` refuses those that were not."""

    where: str
    line: int
    fields: dict[str, "Value"] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)

    def has(self, name: str) -> bool:
        """Tell whether a field stands there and is not null."""
        value = self.fields.get(name)
        return value is not None and not (isinstance(value, YamlText) and value.missing)

    def at(self, name: str) -> int:
        """Return the line of a field, or of the table."""
        return self.lines.get(name, self.line)

    def text(self, name: str, *, default: str = "") -> str:
        """Take a scalar. Raises PolicyError."""
        self.taken.add(name)
        if not self.has(name):
            return default
        value = self.fields[name]
        if not isinstance(value, YamlText):
            refuse(f"{name} is no single value", self.at(name), fix=f"Give {name} one value.")
        return value.text

    def needed(self, name: str) -> str:
        """Take a scalar that must be there. Raises PolicyError."""
        found = self.text(name)
        if not found:
            refuse(f"{self.where} has no {name}", self.line, fix=f"Add {name}.")
        return found

    def flag(self, name: str, *, default: bool) -> bool:
        """Take true or false. Raises PolicyError."""
        text = self.text(name, default="true" if default else "false")
        if text not in (*_TRUE, *_FALSE):
            refuse(f"{name} is neither true nor false", self.at(name), fix="Write true or false.")
        return text in _TRUE

    def table(self, name: str) -> "YamlTable | None":
        """Take a table, None where there is none. Raises PolicyError."""
        self.taken.add(name)
        if not self.has(name):
            return None
        return as_table(self.fields[name], name)

    def tables(self, name: str) -> "list[YamlTable]":
        """Take a list of tables, empty where there is none. Raises PolicyError."""
        return [as_table(one, f"{name}[{n}]") for n, one in enumerate(self.items(name))]

    def items(self, name: str) -> "list[Value]":
        """Take a list, empty where there is none. Raises PolicyError."""
        self.taken.add(name)
        if not self.has(name):
            return []
        value = self.fields[name]
        if not isinstance(value, YamlList):
            refuse(f"{name} is no list", self.at(name), fix=f"Give {name} a list.")
        return value.items

    def texts(self, name: str) -> list[str]:
        """Take a list of scalars. Raises PolicyError."""
        found = []
        for one in self.items(name):
            if not isinstance(one, YamlText) or one.missing:
                refuse(f"{name} holds what is no single value", one.line, fix="Give plain values.")
            found.append(one.text)
        return found

    def done(self) -> None:
        """Refuse the first field that nobody took. Raises PolicyError."""
        for name in self.fields:
            if name not in self.taken:
                refuse(
                    f"{self.where}.{printable(name[:80])} is outside what Hive enforces",
                    self.at(name),
                    fix="Remove it, or keep that policy for a cluster that runs the original.",
                )


def refuse(why: str, line: int, *, fix: str) -> NoReturn:
    """Refuse a file by the name of what it holds. Raises PolicyError."""
    raise PolicyError(
        "The policy cannot be enforced as it is written.", why=f"line {line}: {why}.", fix=fix
    )


def as_table(value: Value, where: str) -> YamlTable:
    """Return a value as a table. Raises PolicyError."""
    if not isinstance(value, YamlTable):
        refuse(f"{where} is no table", value.line, fix="Indent fields below it.")
    value.where = where
    return value


def read_documents(data: bytes) -> list[Value]:
    """Return the documents of a file, empty ones left out.

    Raises:
        PolicyError: it is no YAML, too large, or holds what is not read here.

    """
    if len(data) > FILE_MAX_BYTES:
        refuse(f"it has {len(data)} bytes, more than {FILE_MAX_BYTES}", 1, fix="Split it.")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        refuse("it is no UTF-8", 1, fix="Save it as UTF-8.")
    try:
        return list(_Builder(text).documents())
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = 1 if mark is None else mark.line + 1
        problem = str(getattr(error, "problem", None) or "it is no YAML")
        refuse(printable(problem[:200]), line, fix="Correct the YAML.")
    except (ValueError, OverflowError, RecursionError):
        refuse("it is no YAML", 1, fix="Correct the YAML.")


class _Builder:
    """Builds values of events, counting them."""

    def __init__(self, text: str) -> None:
        self._events: Iterator[yaml.Event] = iter(yaml.parse(text, Loader=yaml.SafeLoader))
        self._values = 0

    def documents(self) -> Iterator[Value]:
        """Yield the documents."""
        count = 0
        for event in self._events:
            if not isinstance(event, yaml.DocumentStartEvent):
                continue
            count += 1
            line = event.start_mark.line + 1
            if count > DOCUMENTS_MAX:
                refuse(f"it has more than {DOCUMENTS_MAX} documents", line, fix="Split it.")
            value = self._value(next(self._events), 0)
            if not (isinstance(value, YamlText) and value.missing):
                yield value

    def _value(self, event: "yaml.Event", depth: int) -> Value:
        line = event.start_mark.line + 1
        self._values += 1
        if self._values > VALUES_MAX:
            refuse(f"it has more than {VALUES_MAX} values", line, fix="Split it.")
        if depth > DEPTH_MAX:
            refuse(f"it is nested deeper than {DEPTH_MAX}", line, fix="Flatten it.")
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            refuse("anchors and aliases are not read", line, fix="Write the value out.")
        if getattr(event, "tag", None) is not None:
            refuse("tags are not read", line, fix="Write the value without its tag.")
        if isinstance(event, yaml.ScalarEvent):
            return YamlText(event.value, line, event.style is None)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._list(line, depth)
        return self._table(line, depth)

    def _list(self, line: int, depth: int) -> YamlList:
        items: list[Value] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._value(event, depth + 1))
        return YamlList(items, line)

    def _table(self, line: int, depth: int) -> YamlTable:
        table = YamlTable("the document", line)
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._value(event, depth + 1)
            if not isinstance(key, YamlText) or key.missing:
                refuse("a key is no plain name", key.line, fix="Use a name as the key.")
            if key.text in table.fields:
                refuse(
                    f"{printable(key.text[:80])} stands there twice",
                    key.line,
                    fix="Keep one of the two.",
                )
            table.fields[key.text] = self._value(next(self._events), depth + 1)
            table.lines[key.text] = key.line
        return table
