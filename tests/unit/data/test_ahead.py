"""Reading ahead: ordered, bounded, restartable."""

import threading
import time

import pytest

from musicgen_core.data.ahead import DEPTH, ReadAhead


def test_in_order_and_not_too_far_ahead() -> None:
    asked: list[int] = []

    def read(n: int) -> int:
        asked.append(n)
        return n * n

    ahead = ReadAhead(read, step=3)
    assert [ahead.take(n) for n in range(5, 35, 3)] == [n * n for n in range(5, 35, 3)]
    deadline = time.monotonic() + 30
    while len(asked) < 10 + DEPTH and time.monotonic() < deadline:
        time.sleep(0.001)
    ahead.close()
    assert asked == list(range(5, 5 + 3 * (10 + DEPTH), 3))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("read-ahead")]


def test_any_number_may_be_asked_for() -> None:
    ahead = ReadAhead(lambda n: n + 1, step=1)
    assert [ahead.take(n) for n in (0, 1, 100, 101, 5)] == [1, 2, 101, 102, 6]
    ahead.close()
    assert ahead.take(7) == 8
    ahead.close()


def test_errors_arrive_where_they_belong() -> None:
    broken = True

    def read(n: int) -> int:
        if broken and n == 2:
            raise OSError("shard 2 is gone")
        return n

    ahead = ReadAhead(read, step=1)
    assert [ahead.take(0), ahead.take(1)] == [0, 1]
    for _ in range(2):
        with pytest.raises(OSError, match="shard 2 is gone"):
            ahead.take(2)
    broken = False
    assert [ahead.take(2), ahead.take(3)] == [2, 3]
    ahead.close()
