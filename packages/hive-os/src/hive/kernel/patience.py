"""Asking a database that may be away for a moment: what was asked for is asked again, within a bound."""

import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import anyio

from hive.core.errors import EngineTimeoutError, EngineUnavailableError

log: Final = logging.getLogger(__name__)
PAUSE_S: Final = 0.2
AnswerT = TypeVar("AnswerT")


async def patiently(question: Callable[[], Awaitable[AnswerT]], *, timeout_s: float) -> AnswerT:
    """Return the answer; while an engine is away, ask again for `timeout_s`.

    Raises:
        EngineUnavailableError: it stayed away.
        EngineTimeoutError: it stayed silent.

    """
    ends_at = anyio.current_time() + timeout_s
    while True:
        try:
            return await question()
        except (EngineUnavailableError, EngineTimeoutError) as error:
            if anyio.current_time() >= ends_at:
                raise
            log.info("engine.waited_for", extra={"error": error.what})
            await anyio.sleep(PAUSE_S)
