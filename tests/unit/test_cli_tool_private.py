"""What a desktop client's configuration names is not mounted where keys lie."""

from pathlib import Path

import pytest

from hive.cli.tool_commands import _is_private


@pytest.mark.parametrize(
    "place",
    [".ssh/id_rsa", ".netrc", ".npmrc", ".pypirc", ".docker/config.json", ".kube/config", ".aws", ".gnupg",
     ".config/gcloud", ".azure", ".git-credentials", "work/.env", "work/server.pem", ".password-store"],
)  # fmt: skip
def test_a_place_of_keys_is_private(place):
    assert _is_private(str(Path("/srv/people/ada") / place))


@pytest.mark.parametrize("place", ["notes", "work/src", "photos/key west"])
def test_a_place_of_work_is_not(place):
    assert not _is_private(str(Path("/srv/people/ada") / place))
