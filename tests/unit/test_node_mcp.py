"""What the node tells of its own page."""

from hive.node.mcp import approval_page


def test_only_an_address_that_was_set_is_told_to_people_elsewhere():
    assert approval_page("")("ap-1") == ""
    assert approval_page("https://hive.example.org/")("ap-1") == (
        "https://hive.example.org/#approvals"
    )
