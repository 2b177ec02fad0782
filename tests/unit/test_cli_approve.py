"""What `hive approve rules add --when` understands."""

import pytest

from hive.cli.commands.approve import condition_of
from hive.core.errors import BadInputError


@pytest.mark.parametrize(
    ("text", "pointer", "operator", "value"),
    [
        ("/amount > 100", "/amount", ">", 100),
        ("/amount<0.5", "/amount", "<", 0.5),
        ("/to = boss@example.org", "/to", "=", "boss@example.org"),
        ('/to = "true"', "/to", "=", "true"),
        ("/force = true", "/force", "=", True),
        ("/force != null", "/force", "!=", None),
        ("/to ~ 12", "/to", "~", "12"),
        ("/path under /etc", "/path", "under", "/etc"),
        ("/a/b exists", "/a/b", "exists", None),
    ],
)
def test_a_condition_is_read(text, pointer, operator, value):
    found = condition_of(text)
    assert (found.pointer, found.operator, found.value) == (pointer, operator, value)


@pytest.mark.parametrize("text", ["", "amount > 1", "/a", "/a ? 3", "/a exists 3"])
def test_what_is_no_condition_is_refused_with_the_form(text):
    with pytest.raises(BadInputError, match="condition"):
        condition_of(text)
