"""Hooks that the transcripts replay."""

from __future__ import annotations

from holdfast.hooks import HookEvent, after, before


@after(scope="agent:*", key="steps")
def audit(event: HookEvent) -> None:
    """Keep a copy."""
    event.state.set("user:audit", event.key, event.new)


@after(scope="agent:*", key="steps")
def twice(event: HookEvent) -> None:
    """Keep another copy."""
    event.state.set("user:audit", event.key, event.new * 2)


@before(scope="agent:*", key="steps")
def limit(event: HookEvent) -> None:
    """Refuse more than a hundred steps."""
    if event.new > 100:
        event.veto("too many steps")
