"""Which version of an npm package is old enough: what was published an hour ago, nobody has looked at yet.

npm itself holds back young releases of everything that it installs (`--before`). What it does not do is to find the
version for a name without one under the same rule; that is done here, by what the registry says of its releases.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias

from hive.core.clock import Clock
from hive.core.errors import BuildError
from hive.core.ids import printable
from hive.core.json import Json

LATEST: Final = "latest"
VERSION_MAX_CHARS: Final = 64
Numbers: TypeAlias = tuple[int, ...]


def youngest(clock: Clock, days: int) -> datetime | None:
    """Return when the youngest release that may be taken was made; None takes any."""
    return clock.now() - timedelta(days=days) if days else None


def before_option(youngest_at: datetime | None) -> tuple[str, ...]:
    """Return what makes npm leave younger releases out, of a package and of all that it depends on."""
    if youngest_at is None:
        return ()
    return (f"--before={youngest_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",)


def aged_version(said: Json, tag: str, youngest_at: datetime) -> str:
    """Return the version that a tag names, or the highest one below it that is old enough.

    `said` is what `npm view` prints of `dist-tags` and `time`. A version whose age is not told is taken, as npm does.

    Raises:
        BuildError: there is none.

    """
    tags, times = _texts(said, "dist-tags"), _texts(said, "time")
    tagged = tags.get(tag or LATEST, "")
    if tagged and _old_enough(times.get(tagged), youngest_at):
        return tagged
    most = _numbers(tagged)
    known = {version: _numbers(version) for version in times}
    fitting = [
        (numbers, version)
        for version, numbers in known.items()
        if numbers and numbers <= most and _old_enough(times[version], youngest_at)
    ]
    if not fitting:
        raise BuildError(
            f"No version of the package is old enough: {printable(tagged or tag or LATEST)} is the newest.",
            why=f"It takes releases from before {youngest_at:%Y-%m-%d %H:%M} (HIVE_PACKAGE_AGE_DAYS).",
            fix="Wait, or lower HIVE_PACKAGE_AGE_DAYS.",
        )
    return max(fitting)[1]


def _old_enough(told: str | None, youngest_at: datetime) -> bool:
    if told is None:
        return True
    try:
        return datetime.fromisoformat(told) <= youngest_at
    except (ValueError, TypeError):
        return False  # A date without a zone, or what is none, says nothing that could be believed.


def _numbers(version: str) -> Numbers:
    """Return what orders releases; nothing for one that is only tried out (`-rc.1`) or is none."""
    parts = version.partition("+")[0].split(".")
    plain = len(version) <= VERSION_MAX_CHARS and len(parts) == 3
    return (
        tuple(map(int, parts)) if plain and all(p.isascii() and p.isdigit() for p in parts) else ()
    )


def _texts(said: Json, field: str) -> Mapping[str, str]:
    found = said.get(field) if isinstance(said, dict) else None
    pairs = found.items() if isinstance(found, dict) else ()
    return {key: value for key, value in pairs if isinstance(value, str)}
