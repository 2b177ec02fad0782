"""Where a component begins: `handle` of the world, on the function that a user wrote."""

import inspect
import os
import random
import time

import wit_world
from componentize_py_types import Err
from hive_agent_named import AGENT
from wit_world import Outcome_Ask, Outcome_Done
from wit_world.imports import system

import hive_guest


def _seconds():
    return system.now() / 1e9


def _settle():
    """Put the host's clock and randomness where a component without WASI has none."""
    os.urandom = system.random
    time.time = _seconds
    time.time_ns = system.now
    time.monotonic = time.perf_counter = _seconds
    time.monotonic_ns = time.perf_counter_ns = system.now
    random.seed(system.random(32))
    random._urandom = system.random


def _whole(answer):
    """Run what the agent returned to its end; pieces of a generator are streamed."""
    if inspect.isgenerator(answer):
        for piece in answer:
            hive_guest.chunk(piece)
        return ""
    if inspect.iscoroutine(answer):
        return _whole(_awaited(answer))
    if inspect.isasyncgen(answer):
        while True:
            try:
                hive_guest.chunk(_awaited(anext(answer)))
            except StopAsyncIteration:
                return ""
    return answer


def _awaited(coroutine):
    """Run a coroutine that waits for nothing but itself: inside a component every call returns at once."""
    waiting = coroutine.__await__()
    while True:
        try:
            next(waiting)
        except StopIteration as done:
            return done.value


def _said(answer):
    if answer is None:
        return ""
    return answer if isinstance(answer, str) else str(answer)


class WitWorld(wit_world.WitWorld):
    """The world's one export."""

    _settled = False

    def handle(self, turn):
        """Handle one message."""
        if not WitWorld._settled:
            WitWorld._settled = True
            _settle()
        hive_guest.set_turn(turn)
        try:
            return Outcome_Done(_said(_whole(AGENT(turn.text))))
        except hive_guest.NeedInput as asked:
            return Outcome_Ask(asked.question)
        except Exception as error:
            raise Err(f"{type(error).__name__}: {error}") from error
        finally:
            hive_guest.set_turn(None)
