"""How a record says which migration gave its value the version that it has.

The text of a record's schema version may go on behind a unit separator; see ``docs/format.md``.
Whatever copies the version of a record copies that too.
"""

from __future__ import annotations

from typing import Final

from holdfast.clock import from_ns
from holdfast.errors import CorruptionError
from holdfast.store.value import MigrationInfo

SEPARATOR: Final = "\x1f"


def migrated_text(
    from_version: int, to_version: int, id_: str, at_ns: int, restore_point: int, before: int
) -> str:
    """Return the text of a schema version that a migration gave; see `MigrationInfo`."""
    return f"{to_version}\x1f{from_version}\x1f{id_}\x1f{at_ns}\x1f{restore_point}\x1f{before}"


def version_text(text: str | None) -> str | None:
    """Return the version alone."""
    return None if text is None else text.partition(SEPARATOR)[0]


def migration_of(text: str | None) -> MigrationInfo | None:
    """Return what a text says of a migration; None if it says nothing.

    Raises:
        CorruptionError: It is none that Holdfast writes.
    """
    if text is None or SEPARATOR not in text:
        return None
    try:
        to, from_, id_, at, restore, before = text.split(SEPARATOR)
        return MigrationInfo(int(from_), int(to), id_, from_ns(int(at)), int(restore), int(before))
    except ValueError:
        raise CorruptionError("a record's schema version is none") from None
