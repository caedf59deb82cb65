"""`AgentManager`: agents that outlive their process."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from holdfast.agents import decisions, model, transfer
from holdfast.agents.conversation import Measure, unanswerable, whole_tail
from holdfast.agents.errors import AgentFileError, AgentNotFoundError
from holdfast.agents.model import (
    AgentInfo,
    AgentRecord,
    LogRecord,
    Message,
    PersistentAgentState,
    ToolPerformance,
    message_key,
    scope_of,
)
from holdfast.clock import from_ns
from holdfast.errors import InvalidArgumentError
from holdfast.manager import StateManager
from holdfast.store.scope import ScopeKind

T = TypeVar("T")
Summarise = Callable[[Sequence[Message]], Message | str]
Messages = list[Message]
Numbered = list[tuple[int, Message]]
_PAGE = 256


class AgentManager:
    """The agents of a store.

    Args:
        state: The store.
    """

    def __init__(self, state: StateManager) -> None:
        self._state = state

    # --- the agent as a whole ---------------------------------------------------------------

    def create(self, agent: PersistentAgentState | str) -> PersistentAgentState:
        """Begin an agent, from a state or just an id.

        Raises:
            AgentExistsError: There is one of this id.
        """
        state = PersistentAgentState(agent) if isinstance(agent, str) else agent
        self._transact(lambda tx, now: decisions.created(tx, state, now))
        return self.load(state.agent_id, tail=len(state.conversation_history))

    def load(self, id: str, *, tail: int | None = None) -> PersistentAgentState:
        """Return an agent with the end of its conversation.

        Args:
            id: Of the agent.
            tail: At most so many messages; None for all that are there.

        Raises:
            AgentNotFoundError: There is none.
        """
        _refuse_negative(tail=tail)
        with self._state.snapshot() as snapshot:
            record, log = decisions.known(snapshot, id)
            first = log.first if tail is None else max(log.first, log.length - tail)
            messages, stop = list[Message](), log.length
            while True:
                read = [
                    snapshot.get(scope_of(id), message_key(number), type=Message)
                    for number in range(first, stop)
                ]
                messages = [each for each in read if each is not None] + messages
                if first == log.first or not unanswerable(messages):
                    break
                first, stop = max(log.first, first - _PAGE), first
        if tail is not None:
            messages = whole_tail(messages, count=tail, complete=True)
        return decisions.state_of(id, record, log, messages)

    def save(self, state: PersistentAgentState, *, trigger: str = "manual") -> None:
        """Store a state: its document, and the part of its conversation that is new.

        Afterwards `state` counts as loaded.

        Raises:
            AgentMovedOnError: Somebody else has saved since it was loaded; nothing was written.
        """
        new = decisions.unsaved(state)
        self._transact(lambda tx, now: decisions.saved(tx, state, new, trigger, now))
        decisions.mark_saved(state, new)

    def update_agent_state(self, id: str, fn: Callable[[PersistentAgentState], T]) -> T:
        """Change an agent by ``fn(state)``, and return what that returned; no change is lost.

        `fn` may run again where others interfere. It sees the document; what it appends to
        ``state.conversation_history``, which is empty, is appended to the conversation.
        """
        return self._transact(lambda tx, now: decisions.updated(tx, id, fn, now))

    def list(self) -> list[AgentInfo]:
        """Return all agents, in order of their ids."""
        found = []
        for scope in self._state.scopes(ScopeKind.AGENT):
            info = self.get(scope.ids[0])
            if info is not None:
                found.append(info)
        return found

    def get(self, id: str) -> AgentInfo | None:
        """Return how an agent stands, or None."""
        scope = scope_of(id)
        with self._state.snapshot() as snapshot:
            record = snapshot.get(scope, model.AGENT, type=AgentRecord)
            log = snapshot.get(scope, model.LOG, type=LogRecord)
            found = snapshot.get_with_metadata(scope, model.AGENT)
        if record is None or log is None or found is None:
            return None
        return AgentInfo(
            id=id,
            name=record.metadata.name,
            messages=log.length - log.first,
            trigger=record.trigger,
            saved_at=record.saved_at,
            created_at=found.metadata.created_at,
        )

    def delete(self, id: str) -> None:
        """Delete an agent with everything in its scope; cut off, it goes on when called again."""
        builder = secrets.token_hex(8)
        exists = self._state.exists(scope_of(id), model.AGENT)
        if not exists and not self._state.exists(scope_of(id), model.LOG):
            raise AgentNotFoundError(f"there is no agent {id!r}", agent=id)
        self._transact(lambda tx, _: decisions.claimed(tx, id, builder, exists=exists))
        self._wipe(id, builder, everything=True)
        self._write(id, builder, [(model.LOG, None)])

    # --- the conversation -------------------------------------------------------------------

    def append(self, id: str, *messages: Message) -> int:
        """Append messages to the conversation, and return the number of the first."""
        return self._transact(lambda tx, now: decisions.appended(tx, id, messages, now))

    def history(self, id: str, *, start: int = 0, limit: int | None = None) -> Numbered:
        """Return messages with their numbers, from `start` on: the next page begins behind them."""
        _refuse_negative(start=start, limit=limit)
        log = self._log(id)
        stop = log.length if limit is None else min(log.length, max(start, log.first) + limit)
        return list(self._messages(id, max(start, log.first), stop))

    def tail(
        self,
        id: str,
        *,
        count: int | None = None,
        tokens: int | None = None,
        measure: Measure | None = None,
    ) -> Messages:
        """Return the longest end of the conversation that fits and parts no result from its call.

        Args:
            id: Of the agent.
            count: At most so many messages.
            tokens: At most so many tokens, as `measure` counts them.
            measure: The tokens of a message; a fourth of its text's length if not given.
        """
        if count is None and tokens is None:
            raise InvalidArgumentError("tail takes count or tokens, or both")
        _refuse_negative(count=count, tokens=tokens)
        return self._tail(id, self._log(id), count, tokens, measure or estimated_tokens)

    def _tail(
        self, id: str, log: LogRecord, count: int | None, tokens: int | None, measure: Measure
    ) -> Messages:
        first, messages = log.length, list[Message]()
        while first > log.first:
            start = max(log.first, first - _PAGE)
            messages = [each for _, each in self._messages(id, start, first)] + messages
            first = start
            enough = (count is not None and len(messages) >= count) or (
                tokens is not None and sum(map(measure, messages)) > tokens
            )
            if enough and not unanswerable(messages):
                break
        return whole_tail(messages, count=count, tokens=tokens, measure=measure, complete=True)

    def trim(self, id: str, *, keep: int, summarise: Summarise | None = None) -> int:
        """Forget all but the end of a conversation, and return how many messages went.

        Args:
            id: Of the agent.
            keep: At most so many messages stay; no result is parted from its call.
            summarise: Makes one message of those that go, an earlier summary first. Without it
                they go without one, and an earlier summary stays.
        """
        _refuse_negative(keep=keep)
        log = self._log(id)
        kept = len(self._tail(id, log, keep, None, estimated_tokens))
        first = max(log.first, log.length - kept)
        summary = log.summary
        if summarise is not None and first > log.first:
            going = [each for _, each in self._messages(id, log.first, first)]
            made = summarise(going if summary is None else [summary, *going])
            summary = Message("system", made, self._now()) if isinstance(made, str) else made
        self._transact(lambda tx, _: decisions.trimmed(tx, id, log, first, summary))
        while self._transact(lambda tx, _: decisions.swept(tx, id, _PAGE)):
            pass
        return first - log.first

    # --- tools ------------------------------------------------------------------------------

    def tool_used(self, id: str, name: str, seconds: float, *, ok: bool = True) -> ToolPerformance:
        """Count one call of a tool; any number of callers may at once."""
        return self._transact(lambda tx, _: decisions.tool_used(tx, id, name, seconds, ok))

    def tools(self, id: str) -> dict[str, ToolPerformance]:
        """Return the statistics of each tool."""
        scope = scope_of(id)
        return {
            key.removeprefix(model.TOOL): msgspec.convert(found.value, ToolPerformance)
            for key, found in self._state.scan(scope, prefix=model.TOOL)
        }

    # --- copies -----------------------------------------------------------------------------

    def fork(self, id: str, new_id: str, *, as_of: int | datetime | None = None) -> None:
        """Make a new agent of one as it is, or as it was at a revision or time.

        Raises:
            AgentNotFoundError: There was none then.
            AgentExistsError: There is one of the new id.
        """
        with self._state.snapshot(as_of=as_of) as snapshot:
            record, log = decisions.known(snapshot, id)
            record.metadata.forked_from = id
            rows = (
                (key, value)
                for prefix in model.OWN
                for key, value in snapshot.scan(scope_of(id), prefix=prefix)
            )
            plain = ((key, getattr(value, "value", value)) for key, value in rows)
            self._build(new_id, record, log, plain, origin=id)

    def diff(self, one: str, other: str) -> dict[str, Any]:
        """Say in what two agents differ: paths of the document, and where conversations part."""
        first, second = self.load(one), self.load(other)
        start = max(first.first, second.first)  # what one of them has trimmed cannot be compared
        conversations = [
            each.conversation_history[start - each.first :] for each in (first, second)
        ]
        same = 0
        for a, b in zip(*conversations, strict=False):
            if a != b:
                break
            same += 1
        return {
            "document": list(
                transfer.differing(transfer.document(first), transfer.document(second))
            ),
            "messages_in_common": same,
            "messages_of_one": len(conversations[0]) - same,
            "messages_of_other": len(conversations[1]) - same,
        }

    def export(self, id: str, file: str | os.PathLike[str]) -> None:
        """Write an agent to a single JSON file, whole or not at all."""
        transfer.write(Path(file), self.to_data(id))

    def to_data(self, id: str) -> dict[str, Any]:
        """Return an agent as plain JSON data."""
        return transfer.to_data(self.load(id), self.tools(id))

    def import_(self, file: str | os.PathLike[str], *, id: str | None = None) -> str:
        """Make an agent of an exported one, under its own id or another, and return the id.

        Raises:
            AgentFileError: It is no such file.
            AgentExistsError: There is an agent of the id.
        """
        try:
            data = json.loads(Path(file).read_bytes())
        except ValueError as error:
            raise AgentFileError(f"{file} is no JSON: {error}") from None
        state, tools = transfer.from_data(data, self._now())
        name = id or state.agent_id
        record = decisions.record_of(state, "import", self._now())
        messages = state.conversation_history
        rows: list[tuple[str, Any]] = [
            (message_key(state.first + at), each) for at, each in enumerate(messages)
        ]
        rows += [(model.TOOL + tool, performance) for tool, performance in tools.items()]
        log = LogRecord(
            state.first, state.first + len(messages), floor=state.first, summary=state.summary
        )
        self._build(name, record, log, rows)
        return name

    # --- inside -----------------------------------------------------------------------------

    def _now(self) -> datetime:
        return from_ns(self._state._kernel.clock.now_ns())

    def _transact(self, plan: Callable[[Any, datetime], T]) -> T:
        now = self._now()
        return self._state.transact(lambda tx: plan(tx, now))

    def _log(self, id: str) -> LogRecord:
        with self._state.snapshot() as snapshot:
            return decisions.known(snapshot, id)[1]

    def _messages(self, id: str, start: int, stop: int) -> Iterator[tuple[int, Message]]:
        scope = scope_of(id)
        for at in range(start, stop, _PAGE):
            numbers = range(at, min(stop, at + _PAGE))
            found = self._state.get_batch([(scope, message_key(number)) for number in numbers])
            for number, value in zip(numbers, found, strict=True):
                if isinstance(value, Exception):
                    raise value
                if value is not None:
                    yield number, msgspec.convert(value, Message)

    def _build(
        self,
        id: str,
        record: AgentRecord,
        log: LogRecord,
        rows: Iterable[tuple[str, Any]],
        origin: str | None = None,
    ) -> None:
        """Write an agent row by row; there is none of its id before the document, the last."""
        builder = secrets.token_hex(8)
        self._transact(lambda tx, _: decisions.claimed(tx, id, builder, exists=False))
        self._wipe(id, builder)
        batch: list[tuple[str, Any]] = []
        for row in rows:
            batch.append(row)
            if len(batch) == _PAGE:
                self._write(id, builder, batch)
                batch = []
        batch += [(model.LOG, log), (model.AGENT, record)]
        self._transact(lambda tx, _: decisions.finished(tx, id, builder, batch, origin))

    def _write(self, id: str, builder: str, rows: Sequence[tuple[str, Any]]) -> None:
        self._transact(lambda tx, _: decisions.built(tx, id, builder, rows))

    def _wipe(self, id: str, builder: str, *, everything: bool = False) -> None:
        """Delete what a build or a delete that was cut off has left, in bounded commits."""
        for prefix in ("",) if everything else model.OWN:
            while True:
                keys = self._state.list_keys(scope_of(id), prefix=prefix, limit=_PAGE)
                rows = [(key, None) for key in keys if key != model.LOG]
                if not rows:
                    break
                self._write(id, builder, rows)


def _refuse_negative(**numbers: int | None) -> None:
    for name, number in numbers.items():
        if number is not None and number < 0:
            raise InvalidArgumentError(f"{name} is 0 or more, not {number}")


def estimated_tokens(message: Message) -> int:
    """Guess a message's tokens: a fourth of its characters, and one."""
    content = message.content
    text = content if isinstance(content, str) else json.dumps(content, default=str)
    return 1 + len(text) // 4
