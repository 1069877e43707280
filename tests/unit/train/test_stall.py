"""When a process that trains alone counts as stalled."""

import threading
import time
from collections.abc import Callable

import pytest

from musicgen_core.train import hub, stall
from musicgen_core.train.stall import limit_stalls
from musicgen_core.train.watch import Watch

LIMIT_SEC = 1.0


def said_during(
    act: Callable[[Watch, list[str]], None], monkeypatch: pytest.MonkeyPatch, on_cpu: bool = True
) -> list[str]:
    """What the process would have said at its end, while `act` was the training thread."""
    said: list[str] = []
    monkeypatch.setattr(stall, "end", said.append)
    monkeypatch.setattr(stall, "BEAT_SEC", 0.05)
    watch = Watch()
    with limit_stalls(watch, LIMIT_SEC, {"data": "waiting for a batch"}, on_cpu):
        act(watch, said)
    return said


def wait(condition: Callable[[], bool], pause_sec: float = 0.05) -> None:
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        if pause_sec:
            time.sleep(pause_sec)


def test_one_that_makes_no_marks_is_stalled(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(watch: Watch, said: list[str]) -> None:
        watch.mark("data", 4)
        wait(lambda: bool(said))

    first = said_during(hang, monkeypatch)[0]
    assert "no progress for 1 s (upkeep.stall_limit_sec); 4 steps were finished" in first
    assert "it was at: data, waiting for a batch. The last checkpoint stays" in first
    assert "MainThread:" in first
    assert "in hang" in first


def test_one_that_computes_for_long_is_slow_and_not_stalled_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def compute(watch: Watch, said: list[str]) -> None:
        watch.mark("forward and backward", 4)
        wait(lambda: watch.beat(time.monotonic())["idle_sec"] > 1.5 * LIMIT_SEC, pause_sec=0.0)

    assert said_during(compute, monkeypatch) == []
    assert "4 steps were finished" in said_during(compute, monkeypatch, on_cpu=False)[0], "a GPU that hangs is polled"


def test_a_set_up_that_hangs_is_stalled_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "SET_UP_LEAST_SEC", 2 * LIMIT_SEC)

    def hang(watch: Watch, said: list[str]) -> None:
        watch.prepare("opening the tracks of here")
        wait(lambda: bool(said) or watch.beat(time.monotonic())["idle_sec"] > 1.5 * LIMIT_SEC)
        assert not said
        wait(lambda: bool(said))

    line = said_during(hang, monkeypatch)[0]
    assert "no progress for 2.5 s (2.5 x upkeep.stall_limit_sec in a set-up); it was at: set-up, opening the" in line
    assert "steps were finished" not in line


def test_one_that_goes_on_or_waits_for_the_disk_or_has_not_begun_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def go_on(watch: Watch, said: list[str]) -> None:
        time.sleep(1.5 * LIMIT_SEC)  # it loads a model: no mark yet
        watch.mark("data", 0)
        for number in range(30):
            time.sleep(LIMIT_SEC / 20)
            watch.touch() if number % 2 else watch.mark("update")

    assert said_during(go_on, monkeypatch) == []


def test_one_that_was_suspended_gets_the_time_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """The watching thread is away too: here, the clock jumps."""
    real, jump = time.monotonic, [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: real() + jump[0])

    def rest(watch: Watch, said: list[str]) -> None:
        watch.mark("data", 4)
        begun = watch.beat(time.monotonic())["idle_sec"]
        jump[0] = 100.0
        time.sleep(LIMIT_SEC / 4)
        assert begun < LIMIT_SEC
        assert watch.beat(time.monotonic())["idle_sec"] < LIMIT_SEC

    assert said_during(rest, monkeypatch) == []
    assert not [thread for thread in threading.enumerate() if thread.name == "stall"]
