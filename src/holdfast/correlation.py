"""Correlation: which piece of work a commit belongs to, and what led to it.

A `CorrelationContext` is one *step* of such a piece of work. It flows through sync and async code
by a context variable, goes to other processes as a W3C ``traceparent``, and is written into the
journal with every commit made inside it. This module knows nothing of stores.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar

from holdfast.errors import InvalidArgumentError

P = ParamSpec("P")
T = TypeVar("T")

Attribute = str | int | float | bool

MAX_TEXT: Final = 255  # bytes of an id, a component, an operation, an attribute's text
MAX_CAUSES: Final = 64
MAX_ATTRIBUTES: Final = 32

_OPTIONAL: Final = frozenset(("parent", "component", "operation"))
_TEXTS: Final = (("id", "a correlation id"), ("span", "span"), *((n, n) for n in sorted(_OPTIONAL)))
# https://www.w3.org/TR/trace-context/#traceparent-header: version, trace id, parent id, flags.
_TRACEPARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_TRACE_ID: Final = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrelationContext:
    """One step of a piece of work.

    Attributes:
        id: The correlation id, the same for the whole piece of work: text of 1 to 255 bytes.
        span: The id of this step: 16 hex digits.
        parent: The span that this step is part of, or None.
        causes: What else led to it: spans, commit ids, or ids of events.
        component: What does the work, as ``planner``.
        operation: What it does, as ``plan``.
        attributes: Further facts; texts, numbers and booleans. They are stored as they are, so
            they are no place for secrets.
        started_ns: When the step began.
        sampled: Whether the trace is recorded, as a `traceparent` says; handed on, never stored.
    """

    id: str
    span: str
    parent: str | None = None
    causes: tuple[str, ...] = ()
    component: str | None = None
    operation: str | None = None
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    started_ns: int = 0
    sampled: bool = field(default=True, compare=False, repr=False)

    def __post_init__(self) -> None:
        # What stands here is written as it is, beside the commits of others: nothing may be of
        # another type than it is read back as, or change later.
        for name, what in _TEXTS:
            given = getattr(self, name)
            if given is not None or name not in _OPTIONAL:
                text = check_text(given, what)
                if text is not given:
                    object.__setattr__(self, name, text)
        if self.causes != ():
            object.__setattr__(self, "causes", check_causes(self.causes))
        object.__setattr__(self, "attributes", _checked(self.attributes))
        if type(self.started_ns) is not int or not _is_small(self.started_ns):
            raise InvalidArgumentError("started_ns must be a number of nanoseconds")

    @classmethod
    def new(
        cls,
        id: str | None = None,
        *,
        component: str | None = None,
        operation: str | None = None,
        causes: Sequence[str] = (),
        attributes: Mapping[str, Attribute] | None = None,
        parent: str | None = None,
    ) -> CorrelationContext:
        """Begin a piece of work; without an `id` it gets a random one of 32 hex digits."""
        return cls(
            id=new_id(16) if id is None else id,
            span=new_id(8),
            parent=parent,
            causes=_tuple(causes),
            component=component,
            operation=operation,
            attributes=attributes or {},
            started_ns=time.time_ns(),
        )

    def child(
        self,
        *,
        component: str | None = None,
        operation: str | None = None,
        causes: Sequence[str] = (),
        attributes: Mapping[str, Attribute] | None = None,
    ) -> CorrelationContext:
        """Begin a step of this one; it takes over the component unless it has its own."""
        return replace(
            self,
            span=new_id(8),
            parent=self.span,
            causes=_tuple(causes),
            component=self.component if component is None else component,
            operation=operation,
            attributes=attributes or {},
            started_ns=time.time_ns(),
        )

    @classmethod
    def from_traceparent(
        cls, header: str, *, component: str | None = None, operation: str | None = None
    ) -> CorrelationContext:
        """Go on with the piece of work that a W3C ``traceparent`` header names.

        Raises:
            InvalidArgumentError: It is none.
        """
        found = _TRACEPARENT.fullmatch(header.strip()) if isinstance(header, str) else None
        if found is None or found[1] == "ff" or not int(found[2], 16) or not int(found[3], 16):
            raise InvalidArgumentError(
                "this is no traceparent header",
                hint="it reads 00-<32 hex digits>-<16 hex digits>-<2 hex digits>, ids not zero",
            )
        if found[1] == "00" and found[5]:
            raise InvalidArgumentError("a traceparent of version 00 has four parts")
        context = cls.new(found[2], parent=found[3], component=component, operation=operation)
        return context if int(found[4], 16) & 1 else replace(context, sampled=False)

    def traceparent(self) -> str:
        """Return the step as a W3C ``traceparent`` header.

        An id that is no trace id (32 hex digits, not zero) is told as the first 16 bytes of its
        SHA-256.
        """
        trace = self.id
        if not _TRACE_ID.fullmatch(trace) or not int(trace, 16):
            trace = hashlib.sha256(trace.encode()).digest()[:16].hex()
        span = self.span
        if not re.fullmatch(r"[0-9a-f]{16}", span):
            span = hashlib.sha256(span.encode()).digest()[:8].hex()
        return f"00-{trace}-{span}-{'01' if self.sampled else '00'}"


_current: ContextVar[CorrelationContext | None] = ContextVar("holdfast_correlation", default=None)

#: The context that code runs in; None outside of any. (The bare getter: writes call it.)
current: Final = _current.get
#: Set it for code that runs on somebody's behalf, and take that back. (Bare: hooks call them.)
enter: Final = _current.set
leave: Final = _current.reset


@contextmanager
def correlate(
    id: str | CorrelationContext | None = None,
    *,
    component: str | None = None,
    operation: str | None = None,
    causes: Sequence[str] = (),
    attributes: Mapping[str, Attribute] | None = None,
    traceparent: str | None = None,
) -> Iterator[CorrelationContext]:
    """Run a block as one step: every commit and event inside it belongs to the context yielded.

    Args:
        id: The correlation id; None goes on with the one around, or begins a new one. A context
            is taken as it is.
        component, operation, causes, attributes: See `CorrelationContext`.
        traceparent: Go on with the piece of work of this header.

    Raises:
        InvalidArgumentError: An argument is none of these, or two exclude each other.
    """
    around = _current.get()
    if isinstance(id, CorrelationContext):
        if traceparent or component or operation or causes or attributes:
            raise InvalidArgumentError("a context is taken as it is: use its child(...)")
        context = id
    elif traceparent is not None:
        if id is not None:
            raise InvalidArgumentError("give an id or a traceparent, not both")
        context = CorrelationContext.from_traceparent(traceparent)
        context = replace(
            context,
            component=component,
            operation=operation,
            causes=_tuple(causes),
            attributes=attributes or {},
        )
    elif around is not None and id in (None, around.id):
        context = around.child(
            component=component, operation=operation, causes=causes, attributes=attributes
        )
    else:
        context = CorrelationContext.new(
            id, component=component, operation=operation, causes=causes, attributes=attributes
        )
    token = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(token)


def step_of(
    correlation: str | CorrelationContext | None, operation: str
) -> AbstractContextManager[object]:
    """Run a block as a verb runs that is given ``correlation=``: as a step of it, None for as is.

    Raises:
        InvalidArgumentError: (at entering) It is neither an id nor a context.
    """
    if correlation is None:
        return nullcontext()
    if isinstance(correlation, CorrelationContext):
        return correlate(correlation)
    return correlate(correlation, operation=operation)


def stepping(fn: Callable[P, T], operation: str) -> Callable[P, T]:
    """Return a verb that works inside the ``correlation`` that it is given."""

    @wraps(fn)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        given: Any = kwargs.get("correlation")
        if given is None:
            return fn(*args, **kwargs)
        with step_of(given, operation):
            return fn(*args, **kwargs)

    return call


def carried(fn: Callable[P, T]) -> Callable[P, T]:
    """Return `fn` bound to the context around, for threads: they start without one."""
    context = _current.get()

    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        inner = copy_context()

        def run() -> T:
            _current.set(context)
            return fn(*args, **kwargs)

        return inner.run(run)

    return call


def new_id(size: int) -> str:
    """Return `size` random bytes as hex, never all zero."""
    while not any(raw := os.urandom(size)):
        pass
    return raw.hex()


def check_text(text: object, what: str) -> str:
    """Refuse what is no text of 1 to 255 bytes.

    Raises:
        InvalidArgumentError: It is none.
    """
    try:
        if isinstance(text, str) and 0 < len(text.encode()) <= MAX_TEXT:
            return text if type(text) is str else str.__str__(text)
    except UnicodeEncodeError:
        pass
    raise InvalidArgumentError(f"{what} must be text of 1 to {MAX_TEXT} bytes")


def check_causes(causes: Sequence[str]) -> tuple[str, ...]:
    """Refuse causes that are no short list of ids, and return them.

    Raises:
        InvalidArgumentError: They are none.
    """
    causes = _tuple(causes)
    if len(causes) > MAX_CAUSES:
        raise InvalidArgumentError(f"there are at most {MAX_CAUSES} causes")
    return tuple([check_text(cause, "a cause") for cause in causes])


def _tuple(causes: Sequence[str]) -> tuple[str, ...]:
    if isinstance(causes, str):
        return (causes,)
    try:
        return tuple(causes)
    except TypeError:
        raise InvalidArgumentError("causes are ids, in a list") from None


def _checked(attributes: Mapping[str, Attribute] | None) -> Mapping[str, Attribute]:
    """Return attributes as they are written and read back, in a mapping of their own."""
    if not attributes:
        return {}
    if not isinstance(attributes, Mapping):
        raise InvalidArgumentError("attributes are a mapping of names to values")
    if len(attributes) > MAX_ATTRIBUTES:
        raise InvalidArgumentError(f"a step has at most {MAX_ATTRIBUTES} attributes")
    found: dict[str, Attribute] = {}
    for key, value in attributes.items():
        name = check_text(key, "the name of an attribute")
        if isinstance(value, str):
            found[name] = check_text(value, f"attribute {name}") if value else ""
        elif isinstance(value, bool):
            found[name] = value
        elif isinstance(value, int) and _is_small(value):
            found[name] = int(value)
        elif isinstance(value, float):
            found[name] = float(value)
        else:
            raise InvalidArgumentError(
                f"attribute {name} must be text, a number of 64 bits or a boolean",
                hint="put larger things into an event's data",
            )
    return found


def _is_small(number: int) -> bool:
    return -(1 << 63) <= number < 1 << 64
