"""A clock that can skip time in which nothing happens."""

from __future__ import annotations

from ..embedded import RealClock


class SkippingClock:
    """The machine's clock, which can be moved forward."""

    def __init__(self) -> None:
        self._real = RealClock()
        self._ahead = 0

    def now(self) -> int:
        """Return the milliseconds since 1970, including the skipped time."""
        return self._real.now() + self._ahead

    def monotonic(self) -> int:
        """Return the milliseconds since some instant; skipping does not move this time."""
        return self._real.monotonic()

    def skip_to(self, instant: int) -> None:
        """Move the clock to an instant, unless the instant has passed."""
        self._ahead += max(0, instant - self.now())
