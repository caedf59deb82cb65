"""`Sessions`: a piece of interaction with its data, its files, and an end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from holdfast.driving import drive
from holdfast.errors import InvalidArgumentError
from holdfast.manager import StateManager
from holdfast.sessions import core, decisions, model, transfer
from holdfast.sessions.core import CHUNK_BYTES, Source
from holdfast.sessions.model import Artifact, SessionInfo


class Sessions:
    """The sessions of a store.

    Args:
        state: The store.
        chunk_bytes: How artifacts are cut; what is held in memory is a few of these.
    """

    def __init__(self, state: StateManager, *, chunk_bytes: int = CHUNK_BYTES) -> None:
        if isinstance(chunk_bytes, bool) or not 1 <= chunk_bytes <= 16 << 20:
            raise InvalidArgumentError("chunk_bytes must be from 1 to 16777216")
        self._state, self._size = state, chunk_bytes

    def start(
        self,
        id: str,
        *,
        owner: str | None = None,
        metadata: dict[str, Any] | None = None,
        expires_in: float | None = None,
        previous: str | None = None,
        correlation: str | None = None,
    ) -> SessionInfo:
        """Begin a session.

        Args:
            id: Its id; its scope is ``session:ID``.
            owner: Whose it is: artifacts are stored once per owner, and never once for two.
            metadata: The caller's.
            expires_in: Seconds without a touch after which it is gone.
            previous: An earlier session that this one goes on with.
            correlation: What its events belong to.

        Raises:
            SessionExistsError: There is one of this id.
            SessionNotFoundError: There is no such earlier one.
        """
        drive(self._state, core.start(id, owner, metadata, expires_in, previous, correlation))
        return drive(self._state, core.known(id))

    def suspend(self, id: str) -> None:
        """Suspend an active session: no artifacts go in."""
        self._move(id, (model.ACTIVE,), model.SUSPENDED, "suspended")

    def resume(self, id: str) -> None:
        """Go on with a suspended session."""
        self._move(id, (model.SUSPENDED,), model.ACTIVE, "resumed")

    def end(self, id: str) -> None:
        """End a session; what it holds stays and can be read."""
        self._move(id, (model.ACTIVE, model.SUSPENDED), model.ENDED, "ended")

    def _move(self, id: str, before: tuple[str, ...], after: str, word: str) -> None:
        def plan(tx: Any) -> None:
            decisions.moved(tx, id, before, after, f"session.{word}")

        drive(self._state, core.act(id, word, plan))

    def touch(self, id: str) -> None:
        """Begin its time to live anew."""
        drive(self._state, core.act(id, "touch", lambda tx: decisions.touched(tx, id)))

    def describe(self, id: str, metadata: dict[str, Any]) -> None:
        """Replace its metadata."""
        drive(
            self._state,
            core.act(id, "describe", lambda tx: decisions.described(tx, id, metadata)),
        )

    def get(self, id: str) -> SessionInfo | None:
        """Return a session as it is now, or None: never there, expired, or deleted."""
        return drive(self._state, core.info(id))

    def list(self, status: str | None = None) -> list[SessionInfo]:
        """Return all sessions, or those of a status."""
        return drive(self._state, core.listed(status))

    # --- artifacts ------------------------------------------------------------------------

    def put(
        self,
        id: str,
        name: str,
        source: Source,
        *,
        type: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> Artifact:
        """Store an artifact; it shows when it is whole and durable, and replaces one of its name.

        Args:
            id: Of an active session.
            name: Of the artifact.
            source: Bytes, a binary file, or an iterable of bytes.
            type: A media type.
            metadata: The caller's.
        """
        pull = core.puller(source, self._size)
        return drive(self._state, core.put(id, name, pull, self._size, type, metadata))

    def read(self, id: str, name: str) -> Iterator[bytes]:
        """Yield an artifact in chunks. Only what is read to its end is known to be whole.

        Raises:
            ArtifactNotFoundError: There is none.
            ArtifactDamagedError: A chunk is missing or damaged, or the SHA-256 differs.
        """
        reading = drive(self._state, core.reading(id, name))
        return (drive(self._state, reading.chunk(number)) for number in range(reading.blob.chunks))

    def artifact(self, id: str, name: str) -> Artifact:
        """Return what is known of an artifact, without its content."""
        return drive(self._state, core.reading(id, name)).item

    def artifacts(self, id: str) -> dict[str, Artifact]:
        """Return the artifacts of a session by name."""
        return drive(self._state, core.artifacts(id))

    def remove(self, id: str, name: str) -> None:
        """Delete an artifact, and its content where nothing else of the owner has it."""
        drive(self._state, core.remove(id, name))

    # --- whole sessions -------------------------------------------------------------------

    def export(self, id: str, path: str | os.PathLike[str]) -> None:
        """Write a session to one file, which is there whole or not at all."""
        target = Path(path)
        partial = target.with_name(f"{target.name}.partial-{os.getpid()}")
        try:
            with partial.open("x", encoding="utf-8", newline="\n") as file:
                for line in transfer.export_lines(self._state, id):
                    file.write(line + "\n")
                file.flush()
                os.fsync(file.fileno())
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)

    def load(
        self, path: str | os.PathLike[str], *, id: str | None = None, owner: str | None = None
    ) -> str:
        """Read an exported session in, under its own id and owner or others; return the id.

        Raises:
            SessionFileError: The file is none, not whole, or changed; nothing was imported.
            SessionExistsError: There is a session of this id.
        """
        with Path(path).open(encoding="utf-8", newline="\n") as file:
            return transfer.import_lines(self._state, file, id, owner, self._size)

    def delete(self, id: str) -> bool:
        """Delete a session and all that is in its scope; return whether it was there.

        It is gone from listings at once. Killed in between, it is finished by calling it again,
        or by `sweep`.
        """
        return drive(self._state, core.delete(id))

    def sweep(self) -> tuple[int, int]:
        """Delete expired sessions and what uploads have left; return how many of each.

        Safe beside writers.
        """
        return drive(self._state, core.sweep())
