"""One logic, two faces: what is to be done is a generator of calls, and a face makes them.

A generator yields functions of the store (`StateManager` or `AsyncStateManager`, which have the
same verbs) and gets back what they return. It knows nothing of waiting.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator
from typing import Any, TypeVar, cast

T = TypeVar("T")
Call = Callable[[Any], Any]
Steps = Generator[Call, Any, T]


def drive(state: Any, steps: Steps[T]) -> T:
    """Make the calls of `steps` one after the other, and return its result."""
    try:
        call = next(steps)
        while True:
            try:
                answer = call(state)
            except BaseException as error:  # noqa: BLE001 - the steps clean up, and raise it
                call = steps.throw(error)
            else:
                call = steps.send(answer)
    except StopIteration as stop:
        return cast(T, stop.value)


async def drive_async(state: Any, steps: Steps[T]) -> T:
    """Make the calls of `steps`, awaiting those that are to be awaited."""
    try:
        call = next(steps)
        while True:
            try:
                answer = call(state)
                if inspect.isawaitable(answer):
                    answer = await answer
            except BaseException as error:  # noqa: BLE001 - the steps clean up, and raise it
                call = steps.throw(error)
            else:
                call = steps.send(answer)
    except StopIteration as stop:
        return cast(T, stop.value)
