"""Definitions as they were first seen: a tool that changes afterwards, or poses as another, waits for a person.

What a server says of its tools is read by models as if it were an instruction, and may change from one
listing to the next. So a definition is looked at (`look`), kept by its digest (`book`), and a later form is
shown as a difference (`diff`) before it may be used.
"""
