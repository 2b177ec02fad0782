"""Policy: what an operator's rules say of one call, after grants and warrants have said that it may be asked at all.

A question is one frozen value with one JSON form; whatever engine answers, sees the same. Rules come as a bundle: Rego
(or Cedar) with tests beside it, data, a manifest and a signature. A bundle is tried in a process of its own before it
stands here, and stands whole or not at all. No bundle, no answer, an answer that is none: all of them are a no.

    question.py   what is asked, and how it is told to the record and read back from there
    bundle.py     a bundle as files, read and bounded; signing.py: whose it is
    trial.py      what a bundle has to survive before it may stand
    standing.py   the bundle that stands, and what happens when it is replaced
    again.py      answers of another bundle to what was asked before
    roles/        what an operator's token may do at the operator API
"""

from hive.security.policy.bundle import Bundle, read_bundle
from hive.security.policy.ports import (
    PolicyDecision,
    PolicyEngine,
    PolicyQuestion,
    QuestionCounters,
    QuestionLabel,
    QuestionPrincipal,
)
from hive.security.policy.question import question_again, question_of, recorded
from hive.security.policy.standing import StandingPolicy

__all__ = (
    "Bundle",
    "PolicyDecision",
    "PolicyEngine",
    "PolicyQuestion",
    "QuestionCounters",
    "QuestionLabel",
    "QuestionPrincipal",
    "StandingPolicy",
    "question_again",
    "question_of",
    "read_bundle",
    "recorded",
)
