"""Small pieces of HTML for what notebooks display of objects; all text is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any


def html_table(titles: Sequence[Any], rows: Iterable[Sequence[Any]]) -> str:
    """A table; the first column is aligned to the left.

    Returns:
        HTML.

    >>> "1 &lt; 2" in html_table(["a"], [["1 < 2"]])
    True
    """

    def line(tag: str, cells: Sequence[Any]) -> str:
        sides = ["left", *["right"] * (len(cells) - 1)]
        pairs = zip(sides, cells, strict=True)
        return "".join(f'<{tag} style="text-align:{s}">{escape(str(c))}</{tag}>' for s, c in pairs)

    body = "".join(f"<tr>{line('td', row)}</tr>" for row in rows)
    return f"<table><thead><tr>{line('th', titles)}</tr></thead><tbody>{body}</tbody></table>"


def html_line(text: str, strong: str = "") -> str:
    """A paragraph with an optional beginning in bold."""
    return f"<p>{f'<b>{escape(strong)}</b> ' if strong else ''}{escape(text)}</p>"
