"""How a foreign node becomes known here: a challenge, an answer that cost something, and the book of who is known.

The answer proves that whoever gives it holds the node's key. Work makes many answers dear; a quote of a TPM ties each to
one machine. Both are demanded by this node's settings, and stand in the challenge, which nobody else can make.
"""

from hive.security.identity.registration.answers import Answering, RegistrationAnswer
from hive.security.identity.registration.challenges import Challenges, RegistrationChallenge
from hive.security.identity.registration.machines import Machine, read_machines
from hive.security.identity.registration.registrar import ForeignNode, NodeRegistrar

__all__ = [
    "Answering",
    "Challenges",
    "ForeignNode",
    "Machine",
    "NodeRegistrar",
    "RegistrationAnswer",
    "RegistrationChallenge",
    "read_machines",
]
