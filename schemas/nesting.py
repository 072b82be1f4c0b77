"""How deep a JSON text nests, counted before anything reads it: the recursion limit depends on the caller's stack."""

from __future__ import annotations

import re

DEPTH_MAX = 32
"""Deeper nesting is refused."""

# A string that never ends counts as one to the end of the text: tried again from each quote it would be quadratic.
_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)


def too_deep(value: bytes) -> bool:
    """Whether a text may not be handed to a decoder. Most are known by a count of brackets."""
    return value.count(b"{") + value.count(b"[") > DEPTH_MAX and depth(value) > DEPTH_MAX


def depth(value: bytes) -> int:
    """How deep brackets nest outside of strings."""
    level = deepest = 0
    for match in _BRACKETS.finditer(value):
        token = match.group()
        if token in b"[{":
            level += 1
            deepest = max(deepest, level)
        elif token in b"]}":
            level -= 1
    return deepest
