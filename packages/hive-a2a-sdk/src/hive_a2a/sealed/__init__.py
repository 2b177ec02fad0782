"""Noise on the wire of A2A: the extension `urn:hive-a2a:noise:1`, described in docs/reference/a2a-noise.md.

    extension      the names on the wire; what the card says is `cards.noise_params`
    errors         what can go wrong on each side, and the words for it
    fields         bytes of length-prefixed fields, strictly read
    binding        what a sealed request and its answer are bound to, and what is inside
    answers        the frames of an answer: order, end and origin can be told
    responder      the server's side, for every binding
    initiator      the client's side, for every binding
    memory         who has spoken Noise before, so that nobody is talked out of it
    pins           whom a client seals to, and what may go in the clear
    http_server    the ASGI middleware
    transport      the httpx transport
    grpc_server    the interceptor of a gRPC server; grpc_context is what its handlers see
    grpc_client    the channels of a gRPC client

Nothing is imported here.
"""
