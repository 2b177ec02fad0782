"""What an operator asked for, as a spec: its files and hosts as a grant, and in words what that lets a server do."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from hive.core.call import EffectClass, sha256_hex
from hive.core.errors import BadInputError, ConfigError, SpecError
from hive.core.grant import Access, Grant
from hive.core.ids import printable
from hive.core.json import encode
from hive.execution.confirm import cut_away, cut_by_policy, grant_lines, open_ceiling
from hive.execution.spec_file import NeedsTable, PathTable, SpecTable, environment_of, needs_of
from hive.protocols.mcp.hub.specs import checked_spec, secret_in, server_name
from hive.protocols.mcp.ports import ServerSpec, Sharing, TransportKind
from hive.web.tools import ToolServerOrder

VALUES_MAX: Final = 100
ARGUMENTS_MAX: Final = 200
TIMEOUT_MAX_S: Final = 3600.0
_PACKAGES: Final = ("npm:", "pypi:")


def spec_of(order: ToolServerOrder, *, forbidden: str) -> ServerSpec:
    """Turn an order into a spec; `forbidden` is a folder that no server may see.

    Raises:
        SpecError: a path, host, variable or package cannot be used.
        ConfigError: the address cannot be used.
        InvalidIdError: the name cannot be one.

    """
    if not 0 < order.timeout_s <= TIMEOUT_MAX_S or len(order.argv) > ARGUMENTS_MAX:
        raise BadInputError("The time or the number of arguments is out of range.")
    if max(len(order.environment), len(order.headers), len(order.effects)) > VALUES_MAX:
        raise BadInputError(f"Over {VALUES_MAX} values of one kind.")
    transport = TransportKind(order.transport)
    if transport is TransportKind.STDIO:
        _check_command(order)
    else:
        _check_address(order)
    spec = ServerSpec(
        name=server_name(order.name),
        transport=transport,
        argv=tuple(order.argv),
        package=order.package,
        url=order.url,
        environment=environment_of(SpecTable(environment=order.environment)),
        headers=dict(order.headers),
        grant=_grant(order, forbidden),
        sharing=Sharing(order.sharing),
        oauth=order.oauth,
        effects={tool: EffectClass(word) for tool, word in order.effects.items()},
        timeout_s=order.timeout_s,
        enabled=order.enabled,
        trusted=order.trusted,
    )
    return checked_spec(spec)


def references(spec: ServerSpec) -> list[str]:
    """Return the secrets that a spec names."""
    values = (*spec.environment.values(), *spec.headers.values())
    found = (reference[1] for one in values if (reference := secret_in(one)) is not None)
    return list(dict.fromkeys(found))


def place_of(spec: ServerSpec) -> str:
    """Say where a server comes from: its package, its command or its address."""
    return spec.url or spec.package or " ".join(spec.argv)


def starts_text(spec: ServerSpec) -> str:
    """Say what adding a server starts."""
    if spec.transport is TransportKind.STDIO:
        what = (
            f"the package {spec.package}" if spec.package else f"a command: {' '.join(spec.argv)}"
        )
        return f"{what}, behind the walls"
    if spec.transport is TransportKind.A2A:
        return f"an agent elsewhere: {spec.url}"
    return f"a server elsewhere: {spec.url}"


def plan_lines(spec: ServerSpec) -> list[str]:
    """Say, one plain line each, what a server will be able to do."""
    lines = []
    if spec.transport is TransportKind.STDIO:
        if spec.package and any(spec.argv):
            lines.append(f"is started with: {' '.join(filter(None, spec.argv))}")
        # Of a server the word means its build: what runs behind the walls of the builder.
        lines += grant_lines(replace(spec.grant, packages=False))
        if spec.grant.packages:
            lines.append("runs the build scripts of its packages (inside the walls)")
        if not spec.grant.paths:
            lines.append("sees no file of yours")
        if not spec.grant.hosts:
            lines.append("reaches no host")
    else:
        lines.append("learns what agents ask its tools")
    for what, values in (("the variable", spec.environment), ("the header", spec.headers)):
        lines += [_given(what, key, value) for key, value in values.items()]
    lines += [f"is taken at your word: {tool} is {effect}" for tool, effect in spec.effects.items()]
    if spec.trusted:
        lines.append("is trusted: what it answers counts as the user's own words")
    if spec.oauth:
        lines.append("wants a login: hive tool login " + spec.name)
    shared = {
        Sharing.NODE: "one running server for everybody",
        Sharing.OWNER: "one running server for all agents of an owner",
        Sharing.SANDBOX: "a running server of its own for each sandbox",
    }
    lines.append(shared[spec.sharing])
    return lines


def spec_digest(spec: ServerSpec) -> str:
    """Return what a yes to a spec is bound to."""
    return sha256_hex(encode(spec))


def _given(what: str, key: str, value: str) -> str:
    reference = secret_in(value)
    if reference is not None:
        return f"is given {what} {key} from the vault: {reference[1]}"
    return f"is given {what} {key} = {value}"


def _grant(order: ToolServerOrder, forbidden: str) -> Grant:
    paths = tuple(_path_table(text, Path(order.folder)) for text in order.paths)
    table = SpecTable(
        needs=NeedsTable(
            paths=paths, hosts=tuple(order.hosts), models=(), packages=order.allow_build
        )
    )
    needs = needs_of(table, folder=Path(order.folder), home=Path.home())
    for rule in needs.paths:
        if not Path(rule.host).exists():
            raise SpecError(f"The path {printable(rule.host)} does not exist.", fix="Correct it.")
    grant = cut_by_policy(needs, open_ceiling(limits=needs.limits), forbidden=(forbidden,))
    lost = cut_away(needs, grant)
    if lost:
        raise SpecError(
            f"The server {order.name} cannot be given what it asks for.",
            why=f"Not given: {'; '.join(lost)}. The node keeps its keys and its record there.",
            fix="Name another folder.",
        )
    return grant


def _path_table(text: str, folder: Path) -> PathTable:
    pieces = text.split(":")
    access = Access.READ
    if pieces[-1] in ("ro", "rw"):
        access = Access(pieces.pop())
    if len(pieces) > 2 or not pieces[0]:
        raise SpecError(
            f"The path {printable(text)} cannot be used.", fix="Write PATH[:INSIDE][:ro|rw]."
        )
    host = Path(pieces[0]).expanduser()
    return PathTable(
        host=str(folder / host), inside=pieces[1] if len(pieces) == 2 else "", access=access
    )


def _check_command(order: ToolServerOrder) -> None:
    if order.url or order.headers or order.oauth:
        raise SpecError(
            f"The server {printable(order.name)} is started here.",
            why="An address, headers and a login belong to servers elsewhere.",
            fix="Leave them out, or use --url.",
        )
    if order.package and not order.package.startswith(_PACKAGES):
        raise SpecError(
            f"{printable(order.package)} is no package.", fix="Write npm:NAME or pypi:NAME."
        )
    if not order.package and not any(order.argv[:1]):
        raise SpecError(f"The server {printable(order.name)} has no command and no package.")
    if any("\0" in word for word in order.argv):
        raise SpecError("An argument holds a zero byte.")


def _check_address(order: ToolServerOrder) -> None:
    if order.package or order.argv or order.paths or order.hosts or order.environment:
        raise SpecError(
            f"The server {printable(order.name)} runs elsewhere.",
            why="Nothing is started here that could be given files, hosts or variables.",
            fix="Leave --allow-path, --host-allow and --env out.",
        )
    try:
        parts = urlsplit(order.url)
        wrong = parts.scheme not in ("http", "https") or not parts.hostname
        wrong = wrong or parts.username is not None or parts.fragment != ""
        _ = parts.port
    except ValueError:
        wrong = True
    if wrong or not order.url.isprintable():
        raise ConfigError(
            f"{printable(order.url)} is no address of a server.",
            why="It is http:// or https:// with a host, and holds no user name.",
            fix=f"hive tool add {order.name} --url https://host/mcp",
        )


def known_secrets(kept: Iterable[str], spec: ServerSpec) -> list[str]:
    """Return the secrets that a spec names and the vault does not have."""
    there = set(kept)
    return [one for one in references(spec) if one not in there]
