"""The arguments and options that several commands share, and what they become."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from holdfast.store.options import WriteOptions
from holdfast.store.value import StateMetadata

ScopeArgument = Annotated[
    str, typer.Argument(metavar="SCOPE", help="For example agent:NAME; see docs/cli.md.")
]
KeyArgument = Annotated[str, typer.Argument(metavar="KEY", help="The key.")]
AsOfOption = Annotated[
    str | None,
    typer.Option("--as-of", metavar="REV|TIME", help="Read the past: a revision or an ISO time."),
]
ActorOption = Annotated[
    str | None, typer.Option("--actor", metavar="WHO", help="Who writes, for the history.")
]
CorrelationOption = Annotated[
    str | None, typer.Option("--correlation", metavar="ID", help="What the write belongs to.")
]
LimitOption = Annotated[
    int | None, typer.Option("--limit", "-n", min=1, metavar="N", help="At most so many.")
]
IfRevisionOption = Annotated[
    int | None,
    typer.Option(
        "--if-revision", min=0, metavar="REV", help="Only if the key is at this revision."
    ),
]


class ClassName(StrEnum):
    """The classes that a value on disk can have."""

    TRUSTED = "trusted"
    STANDARD = "standard"
    SENSITIVE = "sensitive"
    EXTERNAL = "external"


class DurabilityName(StrEnum):
    """What an acknowledgement can mean once the command has ended."""

    SYNC = "sync"
    OS = "os"
    RELAXED = "relaxed"


DurabilityOption = Annotated[
    DurabilityName | None,
    typer.Option("--durability", help="What done means: on disk, or out of the process."),
]


def write_options(
    durability: str | None = None, actor: str | None = None, correlation: str | None = None
) -> WriteOptions:
    """Return the options of a write that were given."""
    options = WriteOptions()
    if durability is not None:
        options["durability"] = str(durability)
    if actor is not None:
        options["actor"] = actor
    if correlation is not None:
        options["correlation"] = correlation
    return options


def metadata_fields(metadata: StateMetadata) -> dict[str, Any]:
    """Return metadata as fields for output; `degraded` only where it is so."""
    fields: dict[str, Any] = {
        "revision": metadata.revision,
        "version": metadata.version,
        "previous_revision": metadata.previous_revision,
        "created_at": metadata.created_at,
        "updated_at": metadata.updated_at,
        "expires_at": metadata.expires_at,
        "class": metadata.state_class.name.lower(),
        "size_bytes": metadata.size_bytes,
        "schema_version": metadata.schema_version,
        "correlation_id": metadata.correlation_id,
        "actor": metadata.actor,
        "checksum": metadata.checksum,
        "compressed": metadata.compressed,
        "encryption": metadata.encryption,
    }
    return fields | {"degraded": True} if metadata.degraded else fields
