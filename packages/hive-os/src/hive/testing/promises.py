"""How a conformance suite is read: each public method is one promise."""

from collections.abc import Awaitable, Callable, Mapping

from hive.core.errors import HiveError


def promises(suite: type) -> Mapping[str, Callable[..., Awaitable[None]]]:
    """Return the promises of a suite by name."""
    return {
        name: method
        for name, method in vars(suite).items()
        if callable(method) and not name.startswith("_")
    }


async def must_raise(kind: type[HiveError], awaited: Awaitable[object]) -> None:
    """Await something that must fail with an error of this kind.

    Raises:
        AssertionError: it did not.

    """
    try:
        await awaited
    except kind as error:
        assert error.what, "an error says what failed"
        return
    raise AssertionError(f"{kind.__name__} was expected")
