"""What commands print on: text of senders is shown as it is, never obeyed.

An id or a region may hold what Rich takes for markup, an emoji code or a control character for the terminal.
"""

from __future__ import annotations

import unicodedata
from typing import Any

from rich.console import Console
from rich.text import Text

KEPT = "\n\t"


class Terminal(Console):
    """Rich's console for untrusted text: styles are given as `Text` or `style=`, never inside a string."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """As Rich does, of the visible text: every string it prints, also in a table's cell, comes by here."""
        return super().render_str(visible(text), **options)


def visible(text: str, kept: str = KEPT) -> str:
    """The text with characters that a terminal would act on written as escapes: `\\x1b`, `\\u202e`."""
    if text.isprintable():
        return text
    return "".join(one if one in kept or not _acts(one) else ascii(one)[1:-1] for one in text)


def _acts(one: str) -> bool:
    """Whether it is a control character, turns the direction of writing, or is half of a pair."""
    return unicodedata.category(one) in {"Cc", "Cf", "Cs", "Zl", "Zp"} and one != "\u200d"  # which joins emoji
