"""How long a change that failed waits until it is tried again. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.errors import InvalidArgumentError


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Exponential backoff with jitter.

    Attributes:
        first: Seconds before the second attempt.
        factor: By which each further wait is longer.
        most: The longest wait, in seconds.
        jitter: The share of a wait that is left to chance, from 0 to 1: of many that failed
            together, not all come back together.

    Raises:
        InvalidArgumentError: A number is out of range.
    """

    first: float = 0.5
    factor: float = 2.0
    most: float = 60.0
    jitter: float = 0.5

    def __post_init__(self) -> None:
        sound = 0 <= self.first <= self.most < 1e9 and self.factor >= 1 and 0 <= self.jitter <= 1
        if not sound:
            raise InvalidArgumentError(
                "a retry needs 0 <= first <= most, factor of 1 or more, jitter from 0 to 1"
            )

    def wait(self, failures: int, chance: float) -> float:
        """Return the seconds to wait after so many failures in a row.

        Args:
            failures: 1 or more.
            chance: From 0 to 1; where within the jitter the wait lies.
        """
        # Beyond 64 doublings every bound is reached, and floats would overflow.
        whole = min(self.most, self.first * self.factor ** min(failures - 1, 64))
        return whole * (1 - self.jitter * chance)
