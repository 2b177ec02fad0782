"""Call the agent beside this file: its card is verified, the message is sealed to its key.

python client.py NAME
"""

import sys

import anyio
from a2a.helpers.proto_helpers import get_artifact_text, new_text_message
from a2a.types import Role, SendMessageRequest

from hive_a2a.client import SecureA2AClient

URL = "http://127.0.0.1:8000/"


async def main(name: str) -> None:
    """Send one message and print what comes back."""
    async with SecureA2AClient.connect(URL) as client:
        message = new_text_message(name, role=Role.ROLE_USER)
        async for event in client.send_message(SendMessageRequest(message=message)):
            for artifact in event.task.artifacts:
                sys.stdout.write(get_artifact_text(artifact) + "\n")


if __name__ == "__main__":
    anyio.run(main, sys.argv[1] if len(sys.argv) > 1 else "world")
