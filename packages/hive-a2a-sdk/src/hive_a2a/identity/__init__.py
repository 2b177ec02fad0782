"""Who calls, and how a client says so: each proof is one class, and none trusts what it did not check.

    server      bearer       JWT access tokens (RFC 9068): issuer, audience, pinned algorithms
                introspect   opaque tokens, asked of their issuer (RFC 7662)
                api_key      keys and bearer words that this server knows by hash
                mtls         the SPIFFE id of a TLS client certificate
                dpop         proof of possession of a token's key (RFC 9449)
                binding      tokens that are bound to a key or a certificate
                verified     tokens that were verified a moment ago
                once         what proofs were used before
                challenge    how a caller is told no
    client      credentials  `httpx.Auth` classes that show a credential to configured origins only
                endpoint     asks an authorization server for tokens
                proof        makes DPoP proofs
                spiffe_transport   compares the server's SPIFFE id before a byte is sent
                grpc_spiffe        the same for gRPC
    both        tls          TLS contexts of SVIDs: TLS 1.3, keys never on disk, fresh for each connection
                svid         where SVIDs come from
                jws, jwks    compact tokens and key sets, parsed strictly
                fetch        asks an issuer for JSON, within limits

Nothing is imported here, so that whoever needs one part does not pay for the others.
"""
