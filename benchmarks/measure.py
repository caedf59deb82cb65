"""Measuring: rounds of A, B, A, B …, medians of each, and the median of the rounds' ratios.

A machine that is busy for a while is busy for both of a round, so ratios hold where times do not.
It knows no engine and no store.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.sampling import Sampler

#: From a round's number to the work that is timed; what it does before returning is not.
Prepare = Callable[[int], Callable[[], object]]


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure should be: at most, or at least, a bound in a unit."""

    bound: float
    unit: str = "x"
    at_least: bool = False

    def __str__(self) -> str:
        space = "" if self.unit == "x" else " "
        return f"{'≥' if self.at_least else '≤'} {self.bound:g}{space}{self.unit}"

    def reached(self, figure: float) -> bool:
        """Say whether `figure` reaches the target."""
        return figure >= self.bound if self.at_least else figure <= self.bound


@dataclass(frozen=True, slots=True)
class Row:
    """One measured line.

    Attributes:
        case, engine, work: What was measured.
        unit: Of `ours` and `yardstick`.
        ours, yardstick: Medians; no yardstick where the target is absolute.
        figure: What the target is about: the ratio, or `ours`. None where it was too small.
        low, high: Quartiles of the rounds' ratios.
        target: Or None for a figure that is only told.
    """

    case: str
    engine: str
    work: str
    unit: str
    ours: float
    yardstick: float | None = None
    figure: float | None = None
    low: float | None = None
    high: float | None = None
    target: Target | None = None
    note: str = ""

    @property
    def reached(self) -> bool | None:
        """Whether the target is reached; None without one."""
        if self.target is None or self.figure is None:
            return None
        return self.target.reached(self.figure)


@dataclass(frozen=True, slots=True)
class Pair:
    """Both sides of a comparison: medians per operation, and the ratios of the rounds."""

    ours: float
    theirs: float
    ratio: float
    low: float
    high: float


@dataclass(slots=True)
class Bench:
    """One run of benchmarks.

    Attributes:
        directory: Where stores are made, on the disk that is measured.
        factor: Share of the full number of operations.
        rounds: How often A, B is repeated.
        only: Engines to measure; all of a case where empty.
        sampler: Looks where Holdfast spends its time, if asked to.
    """

    directory: Path
    factor: float = 1.0
    rounds: int = 9
    only: tuple[str, ...] = ()
    sampler: Sampler | None = None
    _made: int = field(default=0)

    def count(self, full: int, least: int = 1) -> int:
        """Return how many operations stand for `full` in this run."""
        return max(least, int(full * self.factor))

    def engines(self, *names: str) -> list[str]:
        """Return those of `names` that this run is about."""
        return [name for name in names if not self.only or name in self.only]

    def place(self, name: str) -> Path:
        """Return a path that nothing is at."""
        self._made += 1
        return self.directory / f"{name}-{self._made}"

    def compare(self, ours: Prepare, theirs: Prepare, *, operations: int) -> Pair:
        """Time both, round by round; times are µs per operation, ratios ours by theirs."""
        settle()
        first: list[float] = []
        second: list[float] = []
        for number in range(self.rounds + 1):  # the first round warms up
            work = ours(number)
            with self.watched():
                mine = timed(work)
            its = timed(theirs(number))
            if number:
                first.append(mine / operations * 1e6)
                second.append(its / operations * 1e6)
        return pair_of(first, second)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Sample what happens inside the block, if samples are wanted."""
        if self.sampler is None:
            yield
            return
        self.sampler.resume()
        try:
            yield
        finally:
            self.sampler.pause()


def pair_of(ours: list[float], theirs: list[float]) -> Pair:
    """Return medians and ratios of two series that were measured in turn."""
    ratios = sorted(a / b for a, b in zip(ours, theirs, strict=True))
    quarter = len(ratios) // 4
    return Pair(
        statistics.median(ours),
        statistics.median(theirs),
        statistics.median(ratios),
        ratios[quarter],
        ratios[-1 - quarter],
    )


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that `work` takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def settle() -> None:
    """Keep the garbage collector from walking what the benchmark itself has made."""
    gc.collect()
    gc.freeze()


def ratio_row(
    case: str,
    engine: str,
    work: str,
    pair: Pair,
    target: Target | None,
    *,
    rate: bool = False,
    note: str = "",
) -> Row:
    """Return the row of a comparison; `rate` turns times into operations a second."""
    if rate:
        return Row(
            case,
            engine,
            work,
            "ops/s",
            1e6 / pair.ours,
            1e6 / pair.theirs,
            1 / pair.ratio,
            1 / pair.high,
            1 / pair.low,
            target,
            note,
        )
    return Row(
        case,
        engine,
        work,
        "µs",
        pair.ours,
        pair.theirs,
        pair.ratio,
        pair.low,
        pair.high,
        target,
        note,
    )
