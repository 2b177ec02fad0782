"""`matchArgs` of a selector: values of one argument are alternatives, several arguments have to hold together."""

import ipaddress
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from hive.core.ids import printable
from hive.core.kernel_rules import KernelAct
from hive.security.kernel_policy.hooks import KnownHook
from hive.security.kernel_policy.reader import YamlTable, refuse

VALUES_MAX: Final = 512
PORTS_MAX: Final = 1024
_ADDRESS: Final = {"sock": "DAddr", "sockaddr": "SAddr"}
_PORT: Final = {"sock": "DPort", "sockaddr": "SPort"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """One alternative: a path, or a network and ports."""

    path: str = ""
    below: bool = False
    network: str = ""
    ports: tuple[int, ...] = ()

    def apart(self, other: "Matched") -> bool:
        """Tell whether no path and no address meets both."""
        if self.path and other.path:
            return not (_within(self, other) or _within(other, self))
        if self.ports and other.ports and not {*self.ports} & {*other.ports}:
            return True
        if not self.network or not other.network:
            return False
        ours, theirs = ipaddress.ip_network(self.network), ipaddress.ip_network(other.network)
        return ours.version != theirs.version or not ours.overlaps(theirs)


def _within(one: Matched, other: Matched) -> bool:
    if one.path == other.path:
        return True
    return other.below and one.path.startswith(other.path.rstrip("/") + "/")


def matched_by(
    tables: list[YamlTable], hook: KnownHook, types: Mapping[int, str]
) -> tuple[Matched, ...]:
    """Return the alternatives of a selector; none means that every value matches. Raises PolicyError."""
    paths: list[Matched] = []
    networks: list[str] = []
    ports: list[int] = []
    seen: set[str] = set()
    for table in tables:
        index, operator = table.needed("index"), table.needed("operator")
        kind = types.get(int(index) if index.isascii() and index.isdigit() else -1, "")
        if hook.argument < 0 or index != str(hook.argument) or kind not in hook.types:
            refuse(
                f"matchArgs on argument {printable(index[:20])} of the type {printable(kind[:40]) or 'none'} is "
                "outside what Hive enforces on this hook",
                table.at("index"),
                fix=_usable(hook),
            )
        values = table.texts("values")
        if not values or len(values) > VALUES_MAX:
            refuse(f"values holds 1 to {VALUES_MAX} values", table.at("values"), fix="Correct it.")
        if (
            hook.act is KernelAct.CONNECT
            and operator == _ADDRESS.get(kind)
            and "address" not in seen
        ):
            seen.add("address")
            networks = [_network(one, table) for one in values]
        elif hook.act is KernelAct.CONNECT and operator == _PORT.get(kind) and "port" not in seen:
            seen.add("port")
            ports = _ports(values, table)
        elif hook.act is not KernelAct.CONNECT and operator in ("Equal", "Prefix") and not paths:
            paths = [_path(one, table, below=operator == "Prefix") for one in values]
        else:
            refuse(
                f"matchArgs operator {printable(operator[:40])} is outside what Hive enforces here",
                table.at("operator"),
                fix=_usable(hook),
            )
        table.done()
    if paths:
        return tuple(paths)
    if not seen:
        return ()
    return tuple(Matched(network=one, ports=tuple(ports)) for one in networks or [""])


def _usable(hook: KnownHook) -> str:
    if hook.argument < 0:
        return "Remove matchArgs: the syscall is refused whatever its arguments are."
    kind = hook.types[0]
    operators = f"{_ADDRESS[kind]}, {_PORT[kind]}" if kind in _ADDRESS else "Equal, Prefix"
    return f"Declare argument {hook.argument} as {kind}, and use each once: {operators}."


def _path(text: str, table: YamlTable, *, below: bool) -> Matched:
    plain = text.rstrip("/") or "/"
    if (
        not text.startswith("/")
        or posixpath.normpath(text) != plain
        or "\0" in text
        or text[:2] == "//"
    ):
        refuse(
            f"{printable(text[:120])} is no plain full path",
            table.at("values"),
            fix="Write it as /a/b.",
        )
    if below and not text.endswith("/"):
        refuse(
            f"the prefix {printable(text[:120])} ends inside a name",
            table.at("values"),
            fix=f"End it with /, or use Equal: Hive matches {printable(text[:120])}/ and what lies below.",
        )
    if not below and text.endswith("/") and text != "/":
        refuse(
            f"{printable(text[:120])} is a folder",
            table.at("values"),
            fix="Use Prefix for a folder.",
        )
    return Matched(path=plain, below=below)


def _network(text: str, table: YamlTable) -> str:
    try:
        return str(ipaddress.ip_network(text, strict=True))
    except ValueError:
        refuse(
            f"{printable(text[:80])} is no address and no network",
            table.at("values"),
            fix="Write 10.0.0.0/8.",
        )


def _ports(values: list[str], table: YamlTable) -> list[int]:
    found: set[int] = set()
    for text in values:
        low, _, high = text.partition(":")
        ends = [
            one for one in (low, high or low) if one.isascii() and one.isdigit() and len(one) < 6
        ]
        if len(ends) != 2 or not 0 < int(ends[0]) <= int(ends[1]) < 65536:
            refuse(
                f"{printable(text[:40])} is no port",
                table.at("values"),
                fix="Write 443 or 8000:8010.",
            )
        if int(ends[1]) - int(ends[0]) >= PORTS_MAX:
            refuse(
                f"{text} is more than {PORTS_MAX} ports",
                table.at("values"),
                fix="Name fewer ports.",
            )
        found |= set(range(int(ends[0]), int(ends[1]) + 1))
    return sorted(found)
