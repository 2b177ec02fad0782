"""The engine of warrants is loaded when a token is first used, and says the same as the one behind it."""

import subprocess
import sys

import pytest

from hive.core.clock import SystemClock
from hive.core.errors import ConfigError
from hive.security.capability.drivers import WARRANTS
from hive.security.capability.later import LaterWarrants
from hive.security.capability.ports import WarrantOpening

OPENING = WarrantOpening(url="tenuo:", root=b"r" * 32, clock=SystemClock())
LOADS = """
import sys
from hive.core.clock import SystemClock
from hive.security.capability.later import LaterWarrants
from hive.security.capability.ports import WarrantOpening
engine = LaterWarrants.open(WarrantOpening(url="tenuo:", root=b"r" * 32, clock=SystemClock()))
engine.root
print("tenuo_core" in sys.modules)
engine.revocation_list((), version=1)
print("tenuo_core" in sys.modules)
"""


def test_the_root_is_that_of_the_engine():
    later, engine = LaterWarrants.open(OPENING), WARRANTS.load("tenuo:").open(OPENING)
    assert later.root == engine.root
    assert list(later.roots) == list(engine.roots)


def test_nothing_is_loaded_before_the_first_token():
    done = subprocess.run([sys.executable, "-c", LOADS], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_an_unknown_engine_is_refused_at_once():
    with pytest.raises(ConfigError):
        LaterWarrants.open(WarrantOpening(url="other:", root=b"r" * 32, clock=SystemClock()))
