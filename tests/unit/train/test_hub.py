"""The hub's judgement, with peers played by sockets."""

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from musicgen_core.train import hub as hub_module
from musicgen_core.train.hub import Hub, Lines

LIMIT_SEC = 1.0


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub("localhost", "secret", LIMIT_SEC)
    hub.start()
    yield hub
    hub.close()


def join(hub: Hub, rank: int, token: str = "secret") -> Lines:
    lines = Lines(socket.create_connection(("localhost", hub.port), timeout=20))
    lines.send({"kind": "hello", "rank": rank, "token": token})
    return lines


def beat(
    lines: Lines,
    count: int,
    idle_sec: float = 0.0,
    waiting: bool = False,
    set_up: bool = False,
    busy: bool = False,
) -> None:
    values = {
        "set_up": set_up,
        "busy": busy,
        "count": count,
        "step": 4,
        "phase": "data",
        "idle_sec": idle_sec,
        "waiting": waiting,
    }
    lines.send({"kind": "beat", **values})


def hear(lines: Lines, acknowledge: bool = True) -> dict[str, Any]:
    """The first message that is no beat."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and lines.open:
        for message in lines.receive():
            if message["kind"] != "beat":
                if acknowledge:
                    lines.send({"kind": "ack"})
                return message
    return {"kind": "gone"}


def test_strangers_are_sent_away_and_harm_nobody(hub: Hub) -> None:
    for text in (b"GET / HTTP/1.0\r\n\r\n", b"[]\n", b'{"token": 1}\n', b"\xff\n", b'{"rank": 1, "token": "guess"}\n'):
        stranger = socket.create_connection(("localhost", hub.port), timeout=20)
        stranger.sendall(text)
        assert stranger.recv(100) == b""
        stranger.close()
    zero, one = join(hub, 0), join(hub, 1)
    beat(zero, 1)
    beat(one, 1)
    one.send({"kind": "failed", "line": "process 1 failed: KeyError", "quiet": False})
    assert hear(zero)["line"] == "process 1 failed: KeyError"
    for lines in (zero, one):
        lines.connection.close()


@pytest.mark.parametrize(
    ("first", "second", "guilty"),
    [
        ({"count": 9, "waiting": True}, {"count": 8}, [1]),  # behind the other
        ({"count": 9, "waiting": True}, {"count": 9}, [1]),  # as far, but it waits for nobody
        ({"count": 9}, {"count": 9, "waiting": True}, [0]),
        ({"count": 9, "waiting": True}, {"count": 9, "waiting": True}, [0, 1]),  # collectives that do not match
        ({"count": 9, "waiting": True}, {"count": 0}, [1]),  # not even started
    ],
)
def test_who_stalls(hub: Hub, first: dict[str, Any], second: dict[str, Any], guilty: list[int]) -> None:
    zero, one = join(hub, 0), join(hub, 1)
    beat(one, **second)
    time.sleep(0.4)
    beat(zero, idle_sec=LIMIT_SEC + 1, **first)
    verdict = hear(one)
    assert (verdict["kind"], verdict["ranks"]) == ("stalled", guilty)
    for lines in (zero, one):
        lines.connection.close()


def test_a_set_up_gets_more_time_and_the_one_behind_is_named(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "SET_UP_LEAST_SEC", 9 * LIMIT_SEC)
    zero, one = join(hub, 0), join(hub, 1)
    beat(one, 3, set_up=True)
    for idle_sec in (0.0, 2 * LIMIT_SEC):  # it waits at its first step: not for too long yet
        beat(zero, 7, waiting=True, idle_sec=idle_sec)
        time.sleep(1.0)
    beat(zero, 7, waiting=True, idle_sec=10 * LIMIT_SEC)
    verdict = hear(one)
    assert (verdict["kind"], verdict["ranks"]) == ("stalled", [1])
    assert "no progress for 9 s (2.5 x upkeep.stall_limit_sec in a set-up); it was at: data" in verdict["line"]
    for lines in (zero, one):
        lines.connection.close()


def test_a_set_up_that_works_may_take_any_time(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "SET_UP_LEAST_SEC", 9 * LIMIT_SEC)
    zero, one = join(hub, 0), join(hub, 1)
    for idle_sec in (0.0, 20 * LIMIT_SEC):
        beat(zero, 7, waiting=True, idle_sec=idle_sec)
        beat(one, 3, set_up=True, busy=True, idle_sec=idle_sec)
        time.sleep(1.5)
    beat(one, 3, set_up=True, idle_sec=21 * LIMIT_SEC)
    verdict = hear(one)
    assert (verdict["kind"], verdict["ranks"]) == ("stalled", [1]), "once it works no more"
    for lines in (zero, one):
        lines.connection.close()


def test_one_that_said_goodbye_is_not_missed(hub: Hub) -> None:
    zero, one = join(hub, 0), join(hub, 1)
    beat(zero, 1)
    one.send({"kind": "bye"})
    one.connection.close()
    deadline = time.monotonic() + 0.8
    while time.monotonic() < deadline:
        beat(zero, 2)
        time.sleep(0.1)
    closing = threading.Thread(target=hub.close)
    closing.start()
    assert hear(zero)["kind"] == "over"
    zero.connection.close()
    closing.join()
