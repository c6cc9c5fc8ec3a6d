"""A virtual clock whose wall clock can be set."""

from __future__ import annotations

from statefun_flask.embedded import VirtualClock


class JumpingClock(VirtualClock):
    """A clock that is moved by hand: both its times forward, and the wall clock by itself."""

    def __init__(self) -> None:
        super().__init__()
        self._jumped = 0

    def now(self) -> int:
        return super().now() + self._jumped

    def move_to(self, instant: int) -> None:
        super().move_to(instant - self._jumped)

    def jump(self, milliseconds: int) -> None:
        """Set the wall clock; the time that has passed stays the same."""
        self._jumped += milliseconds
