"""The log of an engine never grows without end, and its child never notices."""

import os
import stat

from hive.engines.embedded.logs import EngineLog


def test_a_full_log_is_kept_once_and_the_child_goes_on_appending(tmp_path):
    log = EngineLog(tmp_path / "engine.log", size_max_bytes=100)
    child = log.open()
    try:
        os.write(child, b"a" * 150)
        log.bound()
        os.write(child, b"the end")
        assert log.read(0) == b"the end"
        assert log.tail() == "the end"
        kept = tmp_path / "engine.log.1"
        assert kept.read_bytes() == b"a" * 100
        assert {stat.S_IMODE(file.stat().st_mode) for file in (kept, log.path)} == {0o600}
    finally:
        os.close(child)
