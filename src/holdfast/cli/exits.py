"""From errors to exit statuses: one total table, by stable error code.

Scripts decide by these numbers, so they never change their meaning. The errors that only the
command line knows stand here too, in the same tree as all others.
"""

from __future__ import annotations

from typing import Final

from holdfast.errors import RejectedError, StateError, UsageError

OK: Final = 0
INTERNAL: Final = 1
USAGE: Final = 2
ABSENT: Final = 3
CONFLICT: Final = 4
REJECTED: Final = 5
PAST: Final = 6
PROBLEMS: Final = 7
TRY_AGAIN: Final = 8
DAMAGED: Final = 9
NOT_A_STORE: Final = 10
UNKNOWN: Final = 11
ENGINE: Final = 12
INTERRUPTED: Final = 130  # as the shell reports SIGINT
BROKEN_PIPE: Final = 141  # as the shell reports SIGPIPE


class AbsentKeyError(RejectedError):
    """The key asked for is not there."""

    code = "not_found"


class FileError(UsageError):
    """A file named on the command line, or standard output, cannot be read or written."""

    code = "file"


class ProblemsFoundError(RejectedError):
    """The store was checked and is not sound, or not well."""

    code = "problems_found"


#: What each status means, in a word or two; ``docs/cli.md`` has the sentences.
MEANINGS: Final[dict[int, str]] = {
    OK: "done",
    INTERNAL: "fault",
    USAGE: "wrong call",
    ABSENT: "key absent",
    CONFLICT: "conflict",
    REJECTED: "rejected",
    PAST: "past trimmed",
    PROBLEMS: "problems found",
    TRY_AGAIN: "try again later",
    DAMAGED: "damaged",
    NOT_A_STORE: "not a store",
    UNKNOWN: "outcome unknown",
    ENGINE: "engine failed",
    INTERRUPTED: "interrupted",
    BROKEN_PIPE: "broken pipe",
}

EXITS: Final[dict[str, int]] = {
    "state_error": INTERNAL,
    "usage": USAGE,
    "invalid_argument": USAGE,
    "invalid_key": USAGE,
    "invalid_scope": USAGE,
    "invalid_value": USAGE,
    "limit_exceeded": USAGE,
    "configuration": USAGE,
    "missing_extra": USAGE,
    "read_only": USAGE,
    "closed": USAGE,
    "file": USAGE,
    "session_file": USAGE,
    "agent_file": USAGE,
    "not_found": ABSENT,
    "workflow_not_found": ABSENT,
    "session_not_found": ABSENT,
    "agent_not_found": ABSENT,
    "artifact_not_found": ABSENT,
    "conflict": CONFLICT,
    "rejected": REJECTED,
    "wrong_type": REJECTED,
    "ephemeral_mix": REJECTED,
    "protection_required": REJECTED,
    "schema_required": REJECTED,
    "invalid_schema": USAGE,
    "schema_not_found": ABSENT,
    "schema_exists": CONFLICT,
    "schema_incompatible": REJECTED,
    "schema_dependency": REJECTED,
    "schema_mismatch": REJECTED,
    "missing_key": ABSENT,
    "migration_step": REJECTED,
    "migration_plan": REJECTED,
    "unsafe_migration": REJECTED,
    "migration_failed": REJECTED,
    "vetoed": REJECTED,
    "hook_failed": REJECTED,
    "hook_recursion": REJECTED,
    "before_horizon": PAST,
    "diverged": PAST,
    "lease_lost": REJECTED,
    "workflow_exists": CONFLICT,
    "session_exists": CONFLICT,
    "agent_exists": CONFLICT,
    "agent_moved_on": CONFLICT,
    "session_status": REJECTED,
    "workflow_ended": REJECTED,
    "problems_found": PROBLEMS,
    "busy": TRY_AGAIN,
    "workflow_held": TRY_AGAIN,
    "hook_queue_full": TRY_AGAIN,
    "disk_full": TRY_AGAIN,
    "degraded": TRY_AGAIN,
    "corruption": DAMAGED,
    "artifact_damaged": DAMAGED,
    "not_a_store": NOT_A_STORE,
    "format_version": NOT_A_STORE,
    "outcome_unknown": UNKNOWN,
    "poisoned": UNKNOWN,
    "engine": ENGINE,
    "fenced": ENGINE,
    "unsupported_platform": ENGINE,
    "forked": ENGINE,
}


def exit_status(error: StateError) -> int:
    """Return the exit status of an error; a class from elsewhere takes its nearest base's."""
    for kind in type(error).__mro__:
        code = getattr(kind, "code", None)
        if code in EXITS:
            return EXITS[code]
    return INTERNAL


#: What to do next, said for the command line, where the library's own hint speaks of Python.
HINTS: Final[dict[str, str]] = {
    "conflict": "read it again (holdfast get --meta) and retry with the revision it has now",
    "read_only": "leave --read-only out",
    "closed": "run the command again",
    "outcome_unknown": "run holdfast changes to see whether it happened before you retry",
    "poisoned": "run the command again",
    "corruption": "holdfast verify shows the extent, "
    "holdfast repair SOURCE --into TARGET salvages what is sound",
    "fenced": "run the command again",
    "forked": "run the command again",
}


def hint_of(error: StateError) -> str:
    """Return what the caller can do next; a hint of the occasion wins over that of the class."""
    if error.hint and error.hint != type(error).default_hint:
        return error.hint
    if getattr(error, "reason", None) == "exists":
        return "leave --if-absent out to replace it"
    fallback = "see the command's --help" if isinstance(error, UsageError) else ""
    return HINTS.get(error.code, error.hint) or fallback
