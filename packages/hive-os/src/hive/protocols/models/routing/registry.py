"""Providers and routes as they are kept: they survive a restart, and no key is among them."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, cast

from hive.core.clock import Clock
from hive.core.errors import BadInputError, ConflictError, InvalidIdError, NotFoundError, StateError
from hive.engines.ports import Database, Row
from hive.protocols.models.requests import MODEL_NAME_MAX_CHARS
from hive.protocols.models.routing.options import UpstreamOptions, read_options, write_options
from hive.protocols.models.routing.presets import OLD_LIMIT_FIELD

DEFAULT_NAME: Final = "default"
UPSTREAMS_MAX: Final = 100
ROUTES_MAX: Final = 1000
TARGETS_MAX: Final = 10
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamRow:
    """One provider. `secret` names its key in the vault, empty without one."""

    name: str
    url: str
    secret: str = ""
    options: UpstreamOptions = field(default_factory=UpstreamOptions)
    added_at: datetime | None = None

    @property
    def limit_field(self) -> str:
        """Return what it calls the limit of an answer in chat; empty where it knows both names."""
        ollama = self.url.startswith("ollama:")
        return self.options.limit_field or (OLD_LIMIT_FIELD if ollama else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteRow:
    """One name and where it leads: each target is `upstream/model`, or `upstream` for the same model."""

    alias: str
    targets: tuple[str, ...]


def upstream_name(text: str) -> str:
    """Return a provider's name where it can be one.

    Raises:
        InvalidIdError: it cannot.

    """
    if not _NAME.fullmatch(text) or text == DEFAULT_NAME:
        raise InvalidIdError(
            "That name cannot be a model provider's.",
            why="It has 1 to 40 of a-z, 0-9, - and _, begins with a letter or digit, "
            f"and {DEFAULT_NAME!r} is the one of HIVE_MODELS.",
            fix="Choose another, such as openai or local.",
        )
    return text


def checked_route(row: RouteRow) -> RouteRow:
    """Return a route that can be kept.

    Raises:
        BadInputError: its name or a target has the wrong form.

    """
    alias_fits = 0 < len(row.alias) <= MODEL_NAME_MAX_CHARS and row.alias.isprintable()
    if not alias_fits or "*" in row.alias[:-1] or row.alias != row.alias.strip():
        raise BadInputError(
            "That cannot be a model's name.",
            why="It has 1 to 200 printable characters; a star may stand at its end only.",
            fix="hive llm use fast openai/gpt-5-mini     or  hive llm use 'claude-*' anthropic",
        )
    if not 0 < len(row.targets) <= TARGETS_MAX:
        raise BadInputError(
            "A route leads somewhere.",
            why=f"It has 1 to {TARGETS_MAX} targets, the first that answers is taken.",
            fix="hive llm use fast openai/gpt-5-mini ollama/llama3.2",
        )
    for target in row.targets:
        upstream, slash, model = target.partition("/")
        fits = len(model) <= MODEL_NAME_MAX_CHARS and model.isprintable() and "*" not in model
        if not upstream or not fits or (slash and not model):
            raise BadInputError(
                "A target of a route has the wrong form.",
                why=f"{target[:60]!r} is neither `upstream/model` nor `upstream`.",
                fix="hive llm list     shows the upstreams",
            )
    return row


class ModelRegistry:
    """The two tables."""

    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def upstreams(self) -> Sequence[UpstreamRow]:
        """Return all providers, oldest first."""
        rows = await self._database.fetch("SELECT * FROM model_upstream ORDER BY added_at, name")
        return [_upstream(row) for row in rows]

    async def routes(self) -> Sequence[RouteRow]:
        """Return all routes, oldest first."""
        rows = await self._database.fetch("SELECT * FROM model_route ORDER BY position")
        return [
            RouteRow(
                alias=cast("str", row["alias"]), targets=tuple(json.loads(str(row["targets"])))
            )
            for row in rows
        ]

    async def add(self, row: UpstreamRow) -> None:
        """Keep a provider.

        Raises:
            ConflictError: there is one of that name, or there are too many.
            InvalidIdError: the name cannot be one.

        """
        upstream_name(row.name)
        counted = await self._database.fetch("SELECT count(*) AS n FROM model_upstream")
        if cast("int", counted[0]["n"]) >= UPSTREAMS_MAX:
            raise ConflictError("There are too many model providers.", fix="hive llm rm NAME")
        try:
            await self._database.execute(
                "INSERT INTO model_upstream VALUES ($1, $2, $3, $4, $5)",
                row.name,
                row.url,
                row.secret,
                write_options(row.options),
                self._clock.now(),
            )
        except ConflictError as error:
            raise ConflictError(
                f"There is a model provider {row.name!r} already.",
                fix=f"hive llm rm {row.name}     or choose another name",
            ) from error

    async def remove(self, name: str) -> None:
        """Forget a provider.

        Raises:
            NotFoundError: there is none of that name.
            StateError: a route leads there.

        """
        for route in await self.routes():
            if any(target.partition("/")[0] == name for target in route.targets):
                raise StateError(
                    f"The model provider {name!r} is in use.",
                    why=f"The route {route.alias!r} leads there.",
                    fix=f"hive llm use {route.alias} OTHER     or  hive llm use {route.alias} --rm",
                )
        tag = await self._database.execute("DELETE FROM model_upstream WHERE name = $1", name)
        if tag.endswith(" 0"):
            raise missing_upstream(name)

    async def use(self, row: RouteRow) -> None:
        """Keep a route, in place of one of the same name.

        Raises:
            BadInputError: it has the wrong form.
            ConflictError: there are too many.

        """
        checked_route(row)
        if len(await self.routes()) >= ROUTES_MAX:
            raise ConflictError("There are too many routes.", fix="hive llm use ALIAS --rm")
        await self._database.execute(
            "INSERT INTO model_route (alias, targets) VALUES ($1, $2) "
            "ON CONFLICT (alias) DO UPDATE SET targets = $2",
            row.alias,
            json.dumps(list(row.targets)),
        )

    async def unuse(self, alias: str) -> None:
        """Forget a route.

        Raises:
            NotFoundError: there is none of that name.

        """
        tag = await self._database.execute("DELETE FROM model_route WHERE alias = $1", alias)
        if tag.endswith(" 0"):
            raise NotFoundError(f"There is no route {alias[:100]!r}.", fix="hive llm list")


def missing_upstream(name: str) -> NotFoundError:
    """Return the error for a name that no provider has."""
    return NotFoundError(
        f"There is no model provider {name[:100]!r}.", fix="hive llm list     shows them"
    )


def _upstream(row: Row) -> UpstreamRow:
    return UpstreamRow(
        name=cast("str", row["name"]),
        url=cast("str", row["url"]),
        secret=cast("str", row["secret"]),
        options=read_options(cast("str", row["options"])),
        added_at=cast("datetime", row["added_at"]),
    )
