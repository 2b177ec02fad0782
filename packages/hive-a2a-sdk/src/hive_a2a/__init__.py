"""Secure A2A: a wrap of the official a2a-sdk, and the cryptographic primitives that Hive uses.

    errors    what can go wrong
    crypto    sign, seal, derive; on `cryptography` alone
    server    the guards of the wire, and the official routes behind them

Nothing is imported here, so that whoever needs one part does not pay for the others.
"""
