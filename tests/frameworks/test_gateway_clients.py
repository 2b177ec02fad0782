"""Every client through the model gateway: plain, streamed, with a tool, typed, and refused for its budget."""

import pytest

from tests.frameworks.client_matrix import FEATURES, all_rows, show

ROWS = all_rows()


@pytest.mark.parametrize(("name", "wire"), ROWS, ids=[f"{name}-{wire}" for name, wire in ROWS])
def test_an_unmodified_client_works_through_the_gateway(gateway_node, client, shown, name, wire):
    told = show(gateway_node, client(name), wire)
    shown.append(told.row(name, wire, wire))

    assert tuple(told.features) == FEATURES
    assert told.failures == {}
