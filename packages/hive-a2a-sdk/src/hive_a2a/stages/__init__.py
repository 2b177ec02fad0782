"""What stands between an authenticated call and the handler that answers it, one module a stage.

    extensions   the card requires an extension that the call did not activate
    rate         token buckets, a caller and a skill of it
    breaker      a skill whose handler keeps failing rests
    warrant      a shown capability must allow this call, and prove its holder
                 (tenuo_warrants is the engine, digest the hash of what a request says, show_warrant what a client adds,
                 endpoint_proof the proof for an endpoint that is not A2A's)
    schema       declared inputs and outputs of a skill
    guard        hooks of the operator: allow, redact, hold, refuse
    audit        what was tried and how it ended, in a chain that shows when it was changed
                 (audit_file writes it, audit_chain is its form, audit_disk the file, audit_batch what waits,
                 audit_verify the check)
    chain        all of them, in that order: `StagedChain`
    counters     what several servers share: buckets, circuits, nonces
    prompt       instructions and data, kept apart on the way to a model

Nothing is imported here, so that whoever needs one stage does not pay for the others.
"""
