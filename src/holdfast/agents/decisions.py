"""What agents' commits decide: functions of a transaction, which may run again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from holdfast.agents import model
from holdfast.agents.errors import AgentExistsError, AgentMovedOnError, AgentNotFoundError
from holdfast.agents.model import (
    AgentRecord,
    LogRecord,
    Message,
    PersistentAgentState,
    ToolPerformance,
    message_key,
    scope_of,
)
from holdfast.errors import InvalidArgumentError

T = TypeVar("T")


def known(tx: Any, id: str) -> tuple[AgentRecord, LogRecord]:
    """Return what is stored of an agent.

    Raises:
        AgentNotFoundError: There is none of this id.
    """
    scope = scope_of(id)
    record = tx.get(scope, model.AGENT, type=AgentRecord)
    if record is None:
        raise AgentNotFoundError(f"there is no agent {id!r}", agent=id)
    return record, tx.get(scope, model.LOG, type=LogRecord)


def refuse_known(tx: Any, id: str) -> None:
    """Raise if there is an agent.

    Raises:
        AgentExistsError: There is.
    """
    if tx.exists(scope_of(id), model.AGENT):
        raise AgentExistsError(f"there is an agent {id!r}", agent=id)


def record_of(state: PersistentAgentState, trigger: str, now: datetime) -> AgentRecord:
    """Return the document of a state."""
    return AgentRecord(
        configuration=state.configuration,
        execution_state=state.execution_state,
        metadata=state.metadata,
        data=state.data,
        schema_version=state.schema_version,
        saved_at=now,
        trigger=trigger,
        generation=state.generation + 1,
    )


def state_of(
    id: str, record: AgentRecord, log: LogRecord, messages: Sequence[Message]
) -> PersistentAgentState:
    """Return the state of a document and the end of its conversation."""
    return PersistentAgentState(
        agent_id=id,
        configuration=record.configuration,
        execution_state=record.execution_state,
        metadata=record.metadata,
        data=record.data,
        conversation_history=list(messages),
        schema_version=record.schema_version,
        first=log.length - len(messages),
        saved=len(messages),
        generation=record.generation,
        summary=log.summary,
        last=messages[-1] if messages else None,
    )


def created(tx: Any, state: PersistentAgentState, now: datetime) -> None:
    """Begin an agent."""
    refuse_known(tx, state.agent_id)
    scope = scope_of(state.agent_id)
    if tx.exists(scope, model.LOG):
        raise AgentExistsError(
            f"what is left of an agent {state.agent_id!r}, or one being built, is in the way",
            hint="delete it first",
            agent=state.agent_id,
        )
    tx.set(scope, model.AGENT, record_of(state, "create", now))
    tx.set(scope, model.LOG, LogRecord())
    tx.emit("agent.created", {"agent": state.agent_id}, scope=scope)
    if state.conversation_history:
        _append(tx, state.agent_id, LogRecord(), state.conversation_history, now)


def appended(tx: Any, id: str, messages: Sequence[Message], now: datetime) -> int:
    """Append messages; return the number of the first."""
    _, log = known(tx, id)
    return _append(tx, id, log, messages, now)


def _append(tx: Any, id: str, log: LogRecord, messages: Sequence[Message], now: datetime) -> int:
    scope, first = scope_of(id), log.length
    for at, message in enumerate(messages):
        if message.timestamp is None:
            message = msgspec.structs.replace(message, timestamp=now)
        tx.set(scope, message_key(first + at), message)
    if messages:
        tx.set(scope, model.LOG, msgspec.structs.replace(log, length=first + len(messages)))
    return first


def unsaved(state: PersistentAgentState) -> tuple[Message, ...]:
    """Return the messages of a state that are new: those behind the last that is stored.

    The program may have dropped earlier ones from its list; they stay stored.

    Raises:
        InvalidArgumentError: The last that is stored is gone: which are new cannot be told.
    """
    history = state.conversation_history
    at = state.saved
    if state.last is None or (0 < at <= len(history) and history[at - 1] is state.last):
        return tuple(history[at:])
    for at in range(len(history) - 1, -1, -1):
        if history[at] is state.last:
            return tuple(history[at + 1 :])
    raise InvalidArgumentError(
        f"the last stored message of agent {state.agent_id!r} is gone from its"
        " conversation_history, so which messages are new cannot be told; nothing was written",
        hint="append behind what was loaded; trim() forgets what is stored",
    )


def saved(
    tx: Any,
    state: PersistentAgentState,
    new: Sequence[Message],
    trigger: str,
    now: datetime,
) -> None:
    """Store a state: its document, and `new` behind what is stored of its conversation.

    Raises:
        AgentMovedOnError: The document or the conversation is not what was loaded.
    """
    name = state.agent_id
    record, log = known(tx, name)
    if record.generation != state.generation or log.length != state.first + state.saved:
        raise AgentMovedOnError(
            f"agent {name!r} has been saved by somebody else since it was loaded", agent=name
        )
    tx.set(scope_of(name), model.AGENT, record_of(state, trigger, now))
    _append(tx, name, log, new, now)
    told = {"agent": name, "trigger": trigger, "schema_version": state.schema_version}
    tx.emit("agent.saved", told, scope=scope_of(name))


def mark_saved(state: PersistentAgentState, new: Sequence[Message]) -> None:
    """Note in a state that its document and `new` are stored, and no message besides."""
    state.saved += len(new)
    state.last = new[-1] if new else state.last
    state.generation += 1


def updated(tx: Any, id: str, fn: Callable[[PersistentAgentState], T], now: datetime) -> T:
    """Change the document by ``fn(state)``; messages that it appends are appended."""
    record, log = known(tx, id)
    state = state_of(id, record, log, ())
    result = fn(state)
    tx.set(scope_of(id), model.AGENT, record_of(state, "update", now))
    _append(tx, id, log, state.conversation_history, now)
    return result


def tool_used(tx: Any, id: str, name: str, seconds: float, ok: bool) -> ToolPerformance:
    """Count a tool's call."""
    known(tx, id)
    key = model.TOOL + name
    found = tx.get(scope_of(id), key, type=ToolPerformance) or ToolPerformance()
    counted = ToolPerformance(
        calls=found.calls + 1,
        failures=found.failures + (not ok),
        total_seconds=found.total_seconds + seconds,
        longest_seconds=max(found.longest_seconds, seconds),
    )
    tx.set(scope_of(id), key, counted)
    return counted


def trimmed(tx: Any, id: str, before: LogRecord, first: int, summary: Message | None) -> None:
    """Let the conversation begin later, with a summary of what went before.

    Raises:
        AgentMovedOnError: Somebody else has trimmed it meanwhile.
    """
    _, log = known(tx, id)
    if (log.first, log.summary) != (before.first, before.summary):
        raise AgentMovedOnError(f"agent {id!r} was trimmed by somebody else meanwhile", agent=id)
    new = msgspec.structs.replace(log, first=first, summary=summary)
    tx.set(scope_of(id), model.LOG, new)


def swept(tx: Any, id: str, batch: int) -> bool:
    """Delete some of the rows that were trimmed; say whether more are left."""
    _, log = known(tx, id)
    stop = min(log.first, log.floor + batch)
    for number in range(log.floor, stop):
        tx.delete(scope_of(id), message_key(number))
    if stop > log.floor:
        tx.set(scope_of(id), model.LOG, msgspec.structs.replace(log, floor=stop))
    return stop < log.first


def claimed(tx: Any, id: str, builder: str, *, exists: bool) -> None:
    """Take an agent's scope for building or deleting it; whoever had it before loses it."""
    if exists:
        known(tx, id)
        tx.delete(scope_of(id), model.AGENT)
        tx.emit("agent.deleted", {"agent": id}, scope=scope_of(id))
    else:
        refuse_known(tx, id)
    tx.set(scope_of(id), model.LOG, LogRecord(builder=builder))


def finished(
    tx: Any, id: str, builder: str, rows: Sequence[tuple[str, Any]], origin: str | None
) -> None:
    """Write the last rows of an agent that is being built, its document among them."""
    built(tx, id, builder, rows)
    told = {"agent": id} if origin is None else {"agent": id, "forked_from": origin}
    tx.emit("agent.created", told, scope=scope_of(id))


def built(tx: Any, id: str, builder: str, rows: Sequence[tuple[str, Any]]) -> None:
    """Write rows of an agent that is being built; None deletes.

    Raises:
        AgentMovedOnError: Somebody else has taken it over.
    """
    log = tx.get(scope_of(id), model.LOG, type=LogRecord)
    if log is None or log.builder != builder:
        raise AgentMovedOnError(f"somebody else is building or deleting agent {id!r}", agent=id)
    for key, value in rows:
        if value is None:
            tx.delete(scope_of(id), key)
        else:
            tx.set(scope_of(id), key, value)
