"""The A2A door: outside agents and clients talk with ours in the words of A2A 1.0 and 0.3.

    routes      the door itself: paths, who calls, JSON-RPC (start at `send_message`)
    convert     the standard's types end here; values of `hive.core.task` go on
    operations  what each method of the standard does, on the kernel's `Gate`
    official    the same operations behind the official SDK's dispatchers: REST, 0.3, rare forms
    grpc_port   gRPC, on a port of its own
    card        agent cards, built for each request from what is really on
    push        configurations of push notifications; `deliver` sends them, `screen` guards where to
    errors      which code a failure has on which wire

Import the door from `hive.protocols.a2a.routes`. The official SDK, gRPC and httpx are imported on
first use: a node that speaks JSON-RPC 1.0 alone never pays for them.
"""
