"""What an answer says: a document where it is structured, lines where a list is prose, else somebody's text."""

from hive.core.json import Json, decode
from hive.security.labels.traits import ToolTraits


def heard_of(text: str, traits: ToolTraits) -> Json:
    """Return a text of an answer as the labels take it in: read where it is JSON, whole where it is somebody's file."""
    if traits.quotes:
        return text
    document = document_of(text)
    return text if document is None else document


def document_of(text: str) -> Json:
    """Return the document that a text is, or None."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        return decode(text.encode())
    except ValueError:
        return None


def running_text(value: Json) -> str:
    """Return the texts of a document as one running text: nothing in it counts as a record."""
    if isinstance(value, dict):
        return "\n".join(running_text(one) for pair in value.items() for one in pair)
    if isinstance(value, list):
        return "\n".join(running_text(one) for one in value)
    return "" if value is None else str(value)
