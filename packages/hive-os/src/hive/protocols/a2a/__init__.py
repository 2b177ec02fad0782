"""The A2A door: outside agents and clients talk with ours in the words of A2A 1.0 and 0.3.

    routes      the door itself: which agent is a request for?
    service     the SDK's endpoint on our handler: everything of the wire is the SDK's (`hive_a2a`)
    handler     the official `RequestHandler`, start at `on_message_send`
    operations  what each method of the standard does, on the kernel's `Gate`
    convert     the standard's types end here; values of `hive.core.task` go on
    caller      who calls: a token, or a handle on a sandbox's socket
    paths       where everything lies, and which agent a path names
    grpc_port   gRPC, on a port of its own
    card        what an agent's card says
    push        configurations of push notifications; `deliver` sends them
    errors      which fault a failure of the node becomes

Import the door from `hive.protocols.a2a.routes`. The official SDK and gRPC are imported when the first request
comes, or `A2ADoor.service` is called.
"""
