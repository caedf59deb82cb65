"""What the parts of the kit share: how an engine is opened, and the acts that tests are made of."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from holdfast.engines.base import Batch, Durability, Engine
from holdfast.errors import MissingExtraError

try:
    import hypothesis  # noqa: F401 - so that one message covers both
    import pytest
except ImportError as error:  # pragma: no cover - the extra is installed where tests run
    raise MissingExtraError(
        "holdfast.testing.EngineConformance needs pytest and hypothesis",
        hint="pip install 'holdfast[test]'",
    ) from error

LAST = b"\xff" * 8  # above every key that the kit writes


def put(
    engine: Engine,
    *pairs: tuple[bytes, bytes],
    deletes: tuple[bytes, ...] = (),
    delete_ranges: tuple[tuple[bytes, bytes], ...] = (),
    durability: Durability = Durability.OS,
) -> None:
    """Commit one batch that does not depend on the state."""
    batch = Batch(list(pairs), list(deletes), list(delete_ranges))
    engine.write(durability, lambda view: batch)


def everything(engine: Engine) -> dict[bytes, bytes]:
    """Return all pairs."""
    with engine.read() as view:
        return dict(view.scan(b"\x00", LAST))


def run_together(*actions: Callable[[], object], timeout: float = 120.0) -> None:
    """Run each action in a thread of its own; raise the first error that any raised."""
    errors: list[BaseException] = []
    together = threading.Barrier(len(actions))

    def run(action: Callable[[], object]) -> None:
        try:
            together.wait(timeout)
            action()
        except BaseException as error:  # noqa: BLE001 - raised again below
            errors.append(error)

    threads = [threading.Thread(target=run, args=(a,), daemon=True) for a in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout)
        assert not thread.is_alive(), "a thread did not end: the engine hangs"
    if errors:
        raise errors[0]


@contextmanager
def frequent_switches() -> Iterator[None]:
    """Let threads interleave as finely as the interpreter can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


class BodyError(Exception):
    """What the kit's failing bodies raise."""


class Kit:
    """How the engine under test is opened, and how much is tried on it.

    Attributes:
        durable: Data survives closing; must be what the engine's traits say.
        examples: How many Hypothesis sequences to try.
        shrink: Whether to look for the shortest failing sequence (slow, but readable).
        large_value: Bytes of the large value.
        many: Puts of the large batch.
        rounds: Writes in the tests with several threads.
        patience: Seconds after which a writer that nothing should hold up counts as blocked.
    """

    durable: ClassVar[bool] = True
    examples: ClassVar[int] = 25
    shrink: ClassVar[bool] = True
    large_value: ClassVar[int] = 8 * 1024 * 1024
    many: ClassVar[int] = 20_000
    rounds: ClassVar[int] = 100
    patience: ClassVar[float] = 60.0

    def open(self, path: Path, **options: Any) -> Engine:
        """Open the store at `path` (nothing is there the first time). MUST be overridden."""
        raise NotImplementedError

    def reopen(self, engine: Engine, path: Path) -> Engine:
        """Close `engine` and open its store again."""
        engine.close()
        return self.open(path)

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        """A place where nothing is yet."""
        return tmp_path / "store"

    @pytest.fixture
    def engine(self, path: Path) -> Iterator[Engine]:
        """An engine over a new store."""
        engine = self.open(path)
        yield engine
        engine.close()
