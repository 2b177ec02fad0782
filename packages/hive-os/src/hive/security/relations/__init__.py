"""Relationships: who is related to what, and which relations follow from which (a Zanzibar check).

A relationship is `document:plan`, `viewer`, `user:ann`; a model says in OpenFGA's language that an owner of a folder
views what lies in it. A question is answered at a revision, and what cannot be answered is never a yes: a circle
through `but not`, a chain without an end and a database that went back in time are faults.

    model.py    rules, and what a model may be; dsl.py and dsl_json.py: how it is written
    search.py   the search behind a check
    names.py    what an object, a relation and a subject may be called
    book.py     what a node asks, with every change in its ledger
"""

from hive.security.relations.book import RelationBook
from hive.security.relations.ports import (
    RelatedObjects,
    RelationChange,
    RelationDecision,
    RelationFilter,
    RelationOpening,
    Relations,
    Relationship,
)

__all__ = (
    "RelatedObjects",
    "RelationBook",
    "RelationChange",
    "RelationDecision",
    "RelationFilter",
    "RelationOpening",
    "Relations",
    "Relationship",
)
