"""A verb that starts a node: it waits until it is ready, stays or ends, and obeys a signal."""

import os
import signal

import anyio
import pytest

from hive.cli import node_entry
from hive.core.errors import EngineError
from hive.core.settings import Settings
from hive.testing.console import MemoryConsole


@pytest.fixture
def node(monkeypatch):
    """Put a node in the place of the real one; return what happened to it."""
    happened: list[str] = []

    async def run_node(settings, *, on_ready):
        try:
            happened.append("ready")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(on_ready, MemoryConsole())
                await anyio.sleep_forever()
        finally:
            happened.append("closed")

    monkeypatch.setattr("hive.node.run_node", run_node, raising=False)
    return happened


def test_without_a_reason_to_stay_the_node_ends_after_the_work(node):
    done = []
    assert node_entry.serve(Settings(), lambda: bool(done.append(1))) is False
    assert (done, node) == ([1], ["ready", "closed"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_node_that_stays(node, number):
    def work() -> bool:
        os.kill(os.getpid(), number)
        return True

    assert node_entry.serve(Settings(), work) is True
    assert node == ["ready", "closed"]


def test_a_signal_ends_the_node_while_the_work_still_waits_for_a_person(node):
    import threading

    never = threading.Event()

    def work() -> bool:
        os.kill(os.getpid(), signal.SIGINT)
        never.wait()
        return True

    assert node_entry.serve(Settings(), work) is True
    never.set()


def test_an_error_of_the_work_ends_the_node_and_is_raised(node):
    def work() -> bool:
        raise EngineError("It broke.")

    with pytest.raises(EngineError, match="It broke"):
        node_entry.serve(Settings(), work)
    assert node == ["ready", "closed"]
