"""Cells and tables of the live page; `shown` is the only way in which foreign text becomes markup."""

from collections.abc import Iterable
from html import escape
from typing import Final

from hive.core.ids import plain_text

TEXT_MAX_CHARS: Final = 200


def section(
    name: str, title: str, heads: tuple[str, ...], rows: Iterable[tuple[str, ...]], empty: str
) -> str:
    """Return a section with one table, or with what is said where there are no rows."""
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    if not body:
        return f'{_opening(name, title)}<p class="quiet">{escape(empty)}</p></section>'
    top = "".join(f'<th scope="col">{escape(head)}</th>' for head in heads)
    return (
        f"{_opening(name, title, scrolls=True)}<table><thead><tr>{top}</tr></thead>"
        f"<tbody>{body}</tbody></table></section>"
    )


def cell(text: str) -> str:
    """Return a cell."""
    return f"<td>{shown(text)}</td>"


def long_cell(text: str) -> str:
    """Return a cell of a text that may be long."""
    return f'<td class="text">{shown(text)}</td>'


def number_cell(text: str) -> str:
    """Return a cell of a number."""
    return f'<td class="number">{shown(text)}</td>'


def state_cell(text: str, *, good: bool, bad: bool) -> str:
    """Return a cell of a state: good, bad or neither."""
    kind = "good" if good else "bad" if bad else "quiet"
    return f'<td class="state {kind}">{shown(text.replace("_", " "))}</td>'


def shown(text: str) -> str:
    """Return foreign text, shortened, as text of a page: the one way into it."""
    short = text if len(text) <= TEXT_MAX_CHARS else text[: TEXT_MAX_CHARS - 1] + "…"
    return escape(plain_text(short), quote=True)


def mebibytes(size_bytes: int) -> str:
    """Return a size as people read it."""
    return f"{size_bytes / (1 << 20):.0f} MiB" if size_bytes else "-"


def _opening(name: str, title: str, *, scrolls: bool = False) -> str:
    """Return the start of a section; one with a table is reached by keys, since it may scroll."""
    reached = ' tabindex="0"' if scrolls else ""
    return (
        f'<section id="{name}" aria-labelledby="{name}-title"{reached}>'
        f'<h2 id="{name}-title">{title}</h2>'
    )
