"""Which end of a conversation to show: never a tool's result without the call it answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from holdfast.agents.model import Message

Measure = Callable[[Message], int]


def unanswerable(messages: Sequence[Message]) -> set[str]:
    """Return the ids of calls that results in `messages` answer and nothing before them makes."""
    made, found = set[str](), set[str]()
    for message in messages:
        if message.tool_call_id is not None and message.tool_call_id not in made:
            found.add(message.tool_call_id)
        made.update(message.tool_calls)
    return found


def whole_tail(
    messages: Sequence[Message],
    *,
    count: int | None = None,
    tokens: int | None = None,
    measure: Measure | None = None,
    complete: bool = False,
) -> list[Message]:
    """Return the longest end of `messages` that fits and separates no result from its call.

    Empty where not even the last message, with the call it answers, fits. Where `messages` is
    `complete`, so that nothing went before it, a result whose call is nowhere stands for itself.
    """
    alone = unanswerable(messages) if complete else frozenset[str]()
    best, spent, unanswered = len(messages), 0, set[str]()
    for at in range(len(messages) - 1, -1, -1):
        message = messages[at]
        if count is not None and len(messages) - at > count:
            break
        if tokens is not None and measure is not None:
            spent += measure(message)
            if spent > tokens:
                break
        if message.tool_call_id is not None and message.tool_call_id not in alone:
            unanswered.add(message.tool_call_id)
        unanswered.difference_update(message.tool_calls)
        if not unanswered:
            best = at
    return list(messages[best:])
