"""An agent as a single JSON file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from holdfast.agents.decisions import record_of
from holdfast.agents.errors import AgentFileError
from holdfast.agents.model import (
    AgentRecord,
    Message,
    PersistentAgentState,
    ToolPerformance,
)
from holdfast.errors import InvalidArgumentError
from holdfast.store.lines import from_json, to_json

FORMAT = "holdfast-agent"
VERSION = 1
_NATIVE = (datetime, bytes)


def to_data(state: PersistentAgentState, tools: dict[str, ToolPerformance]) -> dict[str, Any]:
    """Return an agent as plain JSON data; types that JSON lacks are tagged."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "id": state.agent_id,
        "document": to_json(document(state)),
        "first": state.first,
        "summary": to_json(_plain(state.summary)),
        "messages": [to_json(_plain(message)) for message in state.conversation_history],
        "tools": {name: _plain(performance) for name, performance in tools.items()},
    }


def from_data(data: Any, now: datetime) -> tuple[PersistentAgentState, dict[str, ToolPerformance]]:
    """Read what `to_data` returned.

    Raises:
        AgentFileError: It is something else, or of a later version.
    """
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise AgentFileError("this is no exported agent: it does not say so in its format")
    if data.get("version") != VERSION:
        raise AgentFileError(
            f"this agent has the format's version {data.get('version')!r}, not {VERSION}",
            hint="read it with the version of Holdfast that wrote it",
        )
    try:
        record = msgspec.convert(
            {**from_json(data["document"]), "saved_at": now, "trigger": "import"}, AgentRecord
        )
        state = PersistentAgentState(
            agent_id=msgspec.convert(data["id"], str),
            configuration=record.configuration,
            execution_state=record.execution_state,
            metadata=record.metadata,
            data=record.data,
            schema_version=record.schema_version,
            conversation_history=msgspec.convert(from_json(data["messages"]), list[Message]),
            first=msgspec.convert(data["first"], int),
            summary=msgspec.convert(from_json(data["summary"]), Message | None),
        )
        tools = msgspec.convert(data["tools"], dict[str, ToolPerformance])
    except (KeyError, TypeError, msgspec.ValidationError, InvalidArgumentError) as error:
        raise AgentFileError(f"this exported agent is damaged: {error}") from None
    if state.first < 0:
        raise AgentFileError("this exported agent is damaged: its conversation begins before 0")
    return state, tools


def document(state: PersistentAgentState) -> dict[str, Any]:
    """Return the document without what a save adds."""
    record: dict[str, Any] = _plain(record_of(state, "", datetime.fromtimestamp(0, UTC)))
    for name in ("saved_at", "trigger", "generation"):
        record.pop(name, None)
    return record


def differing(one: Any, other: Any, path: str = "") -> Iterator[str]:
    """Yield the dotted paths at which two documents differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys()):
            inner = f"{path}.{key}" if path else str(key)
            yield from differing(one.get(key), other.get(key), inner)
    elif one != other:
        yield path


def write(path: Path, data: dict[str, Any]) -> None:
    """Write a file whole or not at all, readable by its owner only."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(data, file, ensure_ascii=False, indent=1)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(value, builtin_types=_NATIVE)
