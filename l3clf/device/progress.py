"""How far long work on emulated chips is, in words.

Rule: nothing is said before there is something to tell, and less and less often, so that hours fill a screen at most.
"""

import math
import time
from collections.abc import Callable

__all__ = ["Progress"]

FIRST_PAUSE_S, LONGEST_PAUSE_S = 3.0, 60.0  # between two words


class Progress:
    """Says what runs, and now and then how far it is and how long all the rest will take.

    The rounds that follow are taken to be as long as the present one: all chips are emulated alike. Of several rounds,
    the first is that on this machine, which is a hundred times as fast and says nothing about the others.

    Parameters
    ----------
    say : callable
    n : int
        Number of units of work in each round.
    rounds : int
    unit : str
    clock : callable, optional
        Returns seconds.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        n: int,
        rounds: int,
        unit: str = "windows",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._say, self._n, self._rounds, self._unit, self._clock = say, n, rounds, unit, clock
        self._name = ""
        self._round = self._done = 0
        self._started = self._next = 0.0
        self._pause_s = FIRST_PAUSE_S

    def start(self, name: str) -> None:
        """Begin a round."""
        self._name, self._done, self._started, self._pause_s = name, 0, self._clock(), FIRST_PAUSE_S
        self._round += 1
        self._next = self._started + self._pause_s
        self._say(f"{name}: {self._n:,} {self._unit}")

    def add(self, n: int) -> None:
        """Count work as done."""
        self._done += n
        now = self._clock()
        if now < self._next or self._done >= self._n:
            return
        left_s = (now - self._started) / self._done * (self._n - self._done + self._n * (self._rounds - self._round))
        left = f"; {_duration(left_s)} left" if self._round > 1 or self._rounds == 1 else ""
        self._say(f"{self._name}: {self._done:,} of {self._n:,} {self._unit}{left}")
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        self._next = now + self._pause_s


def _duration(seconds: float) -> str:
    """Return a duration in words."""
    return f"about {math.ceil(seconds)} s" if seconds < 100 else f"about {math.ceil(seconds / 60)} min"
