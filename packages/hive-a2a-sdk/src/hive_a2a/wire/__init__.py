"""From bytes of a stranger to an official `RequestHandler`, and back: the door of the SDK.

    limits        method, type, encoding, size, depth and time of a body; how many requests are open
    strict_json   JSON that two readers cannot read differently
    proto_in      JSON to protobuf, quick for the everyday forms
    proto_out     protobuf to JSON, the same
    request       one request on the wire: head, caller, version, extensions
    authenticate  who calls, before the body is read
    guarded       `GuardedHandler`: every method of every binding through one chain
    events        server-sent events
    calls         the eleven methods, once for both HTTP bindings
    json_rpc      the JSON-RPC binding
    rest          the HTTP+JSON binding
    official      the official routes, for protocol 0.3
                  (official_context is their context, old_bodies what their adapters do not look at)
    endpoint      `WireEndpoint`: the ASGI application of all that
    card_page     the card with ETag, Last-Modified and 304
    serve         HTTP on a socket, with bounds; corked writes an answer in one piece
    fault_words   an official error as a fault of the wire

Nothing is imported here, so that whoever needs one part does not pay for the others.
"""
