"""What a case is, and what one trial of it gets."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

Counts = Mapping[str, int]


class Refuted(AssertionError):  # noqa: N818 - it says what happened to the claim
    """The claim does not hold: a trial found a counterexample."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One attempt to refute a claim.

    Attributes:
        engine: Name of the engine.
        index: Number of the trial, from 0; cases with a fixed list of situations go by it.
        seed: Text that the trial's randomness comes from, printed with a refutation.
        directory: An empty directory of its own on a real disk.
        long: The trial belongs to the long form.
    """

    engine: str
    index: int
    seed: str
    directory: Path
    long: bool = False

    def random(self) -> random.Random:
        """Return the trial's source of randomness."""
        return random.Random(self.seed)


def _never(_engine: str) -> str | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One claim and how to attack it.

    Attributes:
        name: One word or two, with dashes.
        claim: What is true, in a sentence.
        run: One trial. It returns what it counted (summed over the trials), and raises `Refuted`.
        engines: Where the claim is tried.
        quick, long: Trials per engine in the two forms.
        unable: Why it cannot be tried here on an engine, or None.
        tested: `make test` runs the quick form too.
        in_tests: Trials per engine there, if not as many as the quick form has.
    """

    name: str
    claim: str
    run: Callable[[Trial], Counts]
    engines: tuple[str, ...]
    quick: int
    long: int
    unable: Callable[[str], str | None] = _never
    tested: bool = True
    in_tests: int | None = None
