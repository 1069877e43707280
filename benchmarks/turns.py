"""Times of several programs that take turns, so that what else the machine does meets all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping


def take_turns(
    calls: Mapping[str, Callable[[int], object]],
    rounds: int,
    *,
    warm_up: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of each call(n), n = 0, 1, ..., in `rounds` rounds after `warm_up` ones that are not counted."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(warm_up + rounds):
        for name, call in calls.items():
            started = clock()
            call(number)
            times[name].append(clock() - started)
    return {name: values[warm_up:] for name, values in times.items()}
