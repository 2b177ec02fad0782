"""Three tools of a shop; what they return holds ids that are drawn anew each time."""

import uuid


def order_id(item: str) -> str:
    """Open an order for an item."""
    return f"order {uuid.uuid4()} for {item}"


def stock(item: str) -> str:
    """Count what is left of an item."""
    return f"7 pieces of {item} are left"


def ship(item: str) -> str:
    """Ship an item."""
    return f"shipped {item} as {uuid.uuid4().hex}"
