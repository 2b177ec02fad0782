"""Grade a foreign A2A server: which known attacks does it withstand?

    findings   a probe, what it saw, the grade
    agent      the server under test, and one way to speak to it
    on_card, on_wire, on_callers, on_push    the probes, each with what it sends and the clause it is about
    order      which probes are run, and in which order
    sarif      the report for code scanning

Careful by rule: only tasks that the probe itself began are touched, nothing is destroyed, a webhook that a
server wrongly accepts is removed at once, and no other host than the named one is spoken to.
"""
