"""Which enforcer this machine can have: each step is tried by taking it, strongest first."""

from collections.abc import Iterable, Sequence
from typing import Final

from hive.core.drivers import DriverRow
from hive.core.errors import ConfigError, TierUnavailableError
from hive.execution.enforcement.drivers import DRIVERS
from hive.execution.enforcement.ports import Enforcer, EnforcerStep

AUTO: Final = "auto"
OFF: Final = "off"
WALLS_ALONE: Final = "walls"


def take_step(wanted: str) -> tuple[Enforcer | None, tuple[EnforcerStep, ...]]:
    """Begin the strongest enforcer of those that are `wanted`, and tell of each step; None where only walls stand.

    `auto` tries all of them, a scheme that one alone, `off` none.

    Raises:
        ConfigError: it is none of these.
        TierUnavailableError: the one that is wanted does not stand here.

    """
    if wanted == OFF:
        return None, (EnforcerStep(name=WALLS_ALONE, stands=True, detail="HIVE_ENFORCER=off"),)
    rows = tuple(DRIVERS) if wanted == AUTO else (_row(wanted),)
    steps: list[EnforcerStep] = []
    for row in rows:
        try:
            found = DRIVERS.load(row.scheme)().__enter__()
        except TierUnavailableError as error:
            if wanted != AUTO:
                raise
            steps.append(EnforcerStep(name=row.scheme, stands=False, detail=error.why))
        else:
            steps.append(EnforcerStep(name=row.scheme, stands=True, detail=row.summary))
            return found, tuple(steps)
    steps.append(
        EnforcerStep(
            name=WALLS_ALONE,
            stands=True,
            detail="namespaces, Landlock and seccomp refuse, and tell nobody",
        )
    )
    return None, tuple(steps)


def taken(steps: Sequence[EnforcerStep]) -> EnforcerStep | None:
    """Return the step that was taken; None where not even that which was wanted stands."""
    return next((one for one in steps if one.stands), None)


def described(steps: Iterable[EnforcerStep]) -> str:
    """Say what became of steps, on one line."""
    return "; ".join(f"{one.name}: {one.detail}" for one in steps)


def _row(wanted: str) -> DriverRow:
    known = {row.scheme: row for row in DRIVERS}
    row = known.get(wanted.removesuffix(":"))
    if row is None:
        raise ConfigError(
            f"HIVE_ENFORCER={wanted} is no enforcer.",
            why=f"Known: {', '.join((AUTO, OFF, *known))}.",
            fix="Leave it out: the strongest that stands here is taken.",
        )
    return row
