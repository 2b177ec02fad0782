"""A plain function, generator, or object with `run` or `invoke`: text in, anything out.

The first parameter is the text of the message; a second one, if it is required or called `context` or
`turn`, gets the `GuestTurn`.
"""

from __future__ import annotations

from hive_guest.shapes import Answer, Loaded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from typing import Any, Final

    from hive_guest.api import GuestTurn
    from hive_guest.shapes import Foreign

CONTEXT_NAMES: Final = ("context", "turn")
_GENERATOR: Final = 0x20
_COROUTINE: Final = 0x80
_ASYNC_GENERATOR: Final = 0x200


def load(agent: Foreign) -> Loaded:
    """Wrap a function or an object that has one of the known methods."""
    function = agent
    if not hasattr(agent, "__code__") and not hasattr(agent, "__func__"):
        for method in ("run", "invoke", "__call__"):
            if callable(getattr(agent, method, None)):
                function = getattr(agent, method)
                break
    give = _arguments(function)
    flags = _flags(function)
    if flags & _ASYNC_GENERATOR:
        return Loaded("async generator", _agen(function, give), streams=True, waits=True)
    if flags & _COROUTINE:
        return Loaded("async function", _coroutine(function, give), streams=False, waits=True)
    if flags & _GENERATOR:
        return Loaded("generator", _generator(function, give), streams=True, waits=False)
    return Loaded("function", _function(function, give), streams=False, waits=False)


def _function(
    function: Callable[..., Any], give: Callable[[GuestTurn], tuple[Any, ...]]
) -> Callable[[GuestTurn], Iterator[Any]]:
    def run(turn: GuestTurn) -> Iterator[Any]:
        result = function(*give(turn))
        # A function may hand back a generator that it made elsewhere.
        if hasattr(result, "__next__"):
            yield from result
        else:
            yield Answer(result)

    return run


def _generator(
    function: Callable[..., Any], give: Callable[[GuestTurn], tuple[Any, ...]]
) -> Callable[[GuestTurn], Iterator[Any]]:
    def run(turn: GuestTurn) -> Iterator[Any]:
        result = yield from function(*give(turn))
        if result is not None:
            yield Answer(result)

    return run


def _coroutine(
    function: Callable[..., Any], give: Callable[[GuestTurn], tuple[Any, ...]]
) -> Callable[[GuestTurn], AsyncIterator[Any]]:
    async def run(turn: GuestTurn) -> AsyncIterator[Any]:
        result = await function(*give(turn))
        if hasattr(result, "__anext__"):
            async for piece in result:
                yield piece
        else:
            yield Answer(result)

    return run


def _agen(
    function: Callable[..., Any], give: Callable[[GuestTurn], tuple[Any, ...]]
) -> Callable[[GuestTurn], AsyncIterator[Any]]:
    async def run(turn: GuestTurn) -> AsyncIterator[Any]:
        async for piece in function(*give(turn)):
            yield piece

    return run


def _code(function: Foreign) -> tuple[Any, int]:
    """Return the code of a function and how many of its parameters are bound already."""
    bound = 0
    for _ in range(8):
        if hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        elif hasattr(function, "__func__"):
            function, bound = function.__func__, 1
        elif not hasattr(function, "__code__") and callable(function):
            function, bound = type(function).__call__, 1
        else:
            break
    return function, bound


def _flags(function: Foreign) -> int:
    inner, _ = _code(function)
    flags = getattr(getattr(inner, "__code__", None), "co_flags", 0)
    return int(flags)


def _arguments(function: Foreign) -> Callable[[GuestTurn], tuple[Any, ...]]:
    """Decide once what a function is called with.

    Raises:
        hive_guest.loading.UnusableError: it cannot be called with a text.

    """
    from hive_guest.loading import UnusableError

    inner, bound = _code(function)
    code = getattr(inner, "__code__", None)
    if code is None:  # built in, or partly applied: the text alone has to do
        return lambda turn: (turn.text,)
    names = code.co_varnames[bound : code.co_argcount]
    required = len(names) - len(inner.__defaults__ or ())
    anything = bool(code.co_flags & 0x04)
    only_by_name = code.co_kwonlyargcount - len(inner.__kwdefaults__ or ())
    if (not names and not anything) or required > 2 or only_by_name:
        takes = ", ".join(names) or "nothing"
        raise UnusableError(
            f"{getattr(inner, '__qualname__', 'the agent')} takes {takes}.",
            "An agent takes the text of a message and, if it likes, the turn.",
        )
    if len(names) > 1 and (required == 2 or names[1] in CONTEXT_NAMES):
        return lambda turn: (turn.text, turn)
    return lambda turn: (turn.text,)
