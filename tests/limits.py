"""A programme with other technical limits: small ones, that a short log meets."""

import re


def limited(text: str, **limits: int) -> str:
    """The text of a programme with these limits instead of its own."""
    for name, value in limits.items():
        text, found = re.subn(rf"^(  {name}:) \d+", rf"\g<1> {value}", text, flags=re.MULTILINE)
        assert found == 1, name
    return text


WEEKLY_TASK = """
  talker:
    title: 3 messages a week
    window: {begins: week}
    resets: true
    conditions: [{name: messages, measure: count, at_least: 3, of: [{action: message}]}]
    reward: {points: 20, benefit: tea}

ladder:"""


def with_a_weekly_task(text: str) -> str:
    """The text of a programme with a task more, one that pays and begins anew."""
    assert text.count("\n\nladder:") == 1
    return text.replace("\n\nladder:", WEEKLY_TASK)
