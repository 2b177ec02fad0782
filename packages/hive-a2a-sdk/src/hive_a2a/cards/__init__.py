"""Signed cards: who an agent is, and whether its card is still the one that it signed.

    jcs        one way to write a card down (RFC 8785), as the official SDKs do
    reading    a stranger's JSON, within bounds; signature is the header of one, read and not believed
    jwk        public keys as JSON Web Keys (RFC 7517, RFC 7638)
    sign       put a signature on a card
    verify     is a card signed by somebody whom we trust?
    policies   whom we trust: first seen, pinned, key set, SPIFFE, or nobody; spiffe is that by certificate
    trust      what is remembered of a peer, in memory or in a file
    keys       an agent's own keys on disk, and how they change
    resolve    fetch a card within bounds, and verify it
    files      private files: whole or not at all, for their owner alone
    noise_params   what a card says about Noise
    errors     why a card is not taken
    describe   the card as it is served: it says what is really on

Nothing is imported here, so that whoever needs one part does not pay for the others.
"""
