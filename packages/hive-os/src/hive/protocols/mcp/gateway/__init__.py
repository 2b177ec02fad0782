"""The gateway: agents and clients call the tools of the hub, each call through the kernel's gate.

    gateways = Gateways(hub=hub, gate=gate, grant_of=turns.grant_of, settings=..., clock=..., randomness=...)
    async with gateways.running():     # calls that wait for their client's answer live in here
        gateways.all                   # McpService of every tool: `server__tool`
        gateways.of("files")           # McpService of one server under its own names

`of` answers for every name, known or not: who may not use a server sees the same as who asks for none.
"""

from hive.protocols.mcp.gateway.service import Gateways, GatewayService

__all__ = ["GatewayService", "Gateways"]
