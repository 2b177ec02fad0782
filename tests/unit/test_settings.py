"""A settings file that is none is told, and nothing breaks."""

import pytest

from hive.core.errors import ConfigError
from hive.core.settings import load_settings


def test_a_file_that_is_nested_without_end_is_told_like_any_other(tmp_path):
    file = tmp_path / "hive.toml"
    file.write_text("host = " + "[" * 5000)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings({}, file=file)
