"""Settings may be printed and logged: no key, token or password of them is seen."""

from hive.core.secret import Secret
from hive.core.settings import Settings


def test_no_secret_is_in_what_settings_print():
    settings = Settings(
        state_dir="/x",
        database_url="postgresql://hive:hunter2@db.example/hive",
        mesh_url="nats://hunter2@bus.example",
        index_url="https://__token__:hunter2@index.example/simple",
        model_key=Secret("hunter2"),
        master_key=Secret("hunter2"),
        operator_token=Secret("hunter2"),
    )
    for text in (repr(settings), str(settings), f"{settings}"):
        assert "hunter2" not in text
        assert "db.example" in text
        assert "state_dir='/x'" in text
