"""What an agent asks of its own node on its own socket: values that it keeps, and a stronger tier."""

from hive.protocols.own.door import OwnDoor

__all__ = ("OwnDoor",)
