"""The first process's ear: every process tells it how far it is, and it tells all when one of them has failed.

Beside the process group, over sockets of its own: a process that has died closes its socket at once, and one that waits
in a collective can still be told to end. Messages are lines of JSON.
"""

from __future__ import annotations

import json
import selectors
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import Any

BEAT_SEC = 0.5
"""Between two signs of life."""

FROZEN_SEC = 5.0
"""A listener that was itself away for this long (a suspended job) gives everybody the time anew."""

SET_UP_FACTOR, SET_UP_LEAST_SEC = 2.5, 120.0
"""Before the first step a process gets so many times the limit, and at least so long: large checkpoints are read, and
slow file systems searched. With the default limit it is less than what a collective waits (ranks.TIMEOUT)."""

ACKNOWLEDGE_SEC = 3.0
"""What a process gets to answer in before the others go on without it."""


class Lines:
    """One socket, as messages in and out."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.open = True
        self._rest = b""
        self._sending = threading.Lock()

    def send(self, message: dict[str, Any]) -> None:
        """A peer that has gone is noticed by `receive`."""
        try:
            with self._sending:
                self.connection.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            pass

    def receive(self) -> list[dict[str, Any]]:
        """What has come, after a wait for it; sets `open` to False when the other side is gone."""
        try:
            data = self.connection.recv(1 << 16)
        except OSError:
            data = b""
        self.open = bool(data)
        *whole, self._rest = (self._rest + data).split(b"\n")
        return [json.loads(line) for line in whole]


@dataclass
class Peer:
    """A process as the hub knows it."""

    lines: Lines
    rank: int
    heard: float
    beat: dict[str, Any] = field(default_factory=dict)
    """Its last sign of life: count, step, phase, set_up, idle_sec, busy, waiting."""

    left: bool = False
    acknowledged: bool = False


class Hub(threading.Thread):
    """Listens to all processes of a run; the first verdict is the only one."""

    def __init__(self, host: str, token: str, limit_sec: float) -> None:
        super().__init__(name="hub", daemon=True)
        self._server = socket.create_server((host, 0))
        self.port: int = self._server.getsockname()[1]
        self.token, self._limit_sec = token, limit_sec
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._server, selectors.EVENT_READ)
        self._peers: dict[int, Peer] = {}
        self._over = threading.Event()

    def close(self) -> None:
        """All is well and the first process ends: nobody is watched any more."""
        self._over.set()
        self.join()

    def run(self) -> None:
        try:
            self._watch()
        finally:
            self._selector.close()
            for connection in (self._server, *(peer.lines.connection for peer in self._peers.values())):
                connection.close()

    def _watch(self) -> None:
        turned = beaten = time.monotonic()
        while not self._over.is_set():
            messages = self._listen(BEAT_SEC / 4)
            now = time.monotonic()
            if now - turned > FROZEN_SEC:
                for peer in self._peers.values():
                    peer.heard, peer.beat = now, {**peer.beat, "idle_sec": 0.0}
            turned = now
            verdict = self._judge(messages, now)
            if verdict is not None:
                self._pronounce(verdict)
                return
            if now - beaten > BEAT_SEC:
                beaten = now
                for peer in self._peers.values():
                    if not peer.left:
                        peer.lines.send({"kind": "beat"})
        self._dismiss()

    def _dismiss(self) -> None:
        """Say that it is over, and hear everybody out: to close over unread words would take this one back."""
        for peer in self._peers.values():
            peer.lines.send({"kind": "over"})
        deadline = time.monotonic() + ACKNOWLEDGE_SEC
        while time.monotonic() < deadline and any(peer.lines.open for peer in self._peers.values()):
            self._listen(0.05)

    def _listen(self, seconds: float) -> list[tuple[Peer, dict[str, Any]]]:
        """Messages of all peers that came within this time; a peer that has gone says `gone`."""
        found = []
        deadline = time.monotonic() + seconds
        for key, _ in self._selector.select(seconds):
            if key.fileobj is self._server:
                found += self._accept()
                continue
            peer: Peer = key.data
            found += [(peer, message) for message in peer.lines.receive()]
            if not peer.lines.open:
                self._selector.unregister(key.fileobj)
                found.append((peer, {"kind": "gone"}))
        self._over.wait(max(0.0, deadline - time.monotonic()))
        return found

    def _accept(self) -> list[tuple[Peer, dict[str, Any]]]:
        """A process joins -> what came with its greeting."""
        connection, _ = self._server.accept()
        lines = Lines(connection)
        connection.settimeout(ACKNOWLEDGE_SEC)
        try:
            hello, *more = lines.receive()
            known = hello["token"] == self.token
        except (ValueError, KeyError, TypeError):  # somebody else's: a port scanner
            known = False
        if not known:
            connection.close()
            return []
        peer = Peer(lines, hello["rank"], time.monotonic())
        self._peers[peer.rank] = peer
        self._selector.register(connection, selectors.EVENT_READ, peer)
        return [(peer, message) for message in more]

    def _judge(self, messages: list[tuple[Peer, dict[str, Any]]], now: float) -> dict[str, Any] | None:
        """What ends the run, if anything does."""
        for peer, message in messages:
            peer.heard = now
            if message["kind"] == "beat":
                peer.beat = message
            elif message["kind"] == "bye":
                peer.left = True
            elif message["kind"] in ("failed", "memory"):
                return {**message, "rank": peer.rank}
            elif message["kind"] == "gone" and not peer.left:
                peer.left = True
                return {"kind": "gone", "rank": peer.rank, "line": f"process {peer.rank} is gone{_place(peer)}"}
        return self._find_stalled(now)

    def _find_stalled(self, now: float) -> dict[str, Any] | None:
        """Everybody waits for the one that stalls: it has come least far, or is the one that waits for nobody."""
        there = [peer for peer in self._peers.values() if not peer.left]
        known = [peer for peer in there if peer.beat]
        set_up = any(not peer.beat or peer.beat.get("set_up") for peer in there)
        limit_sec = limit(self._limit_sec, set_up)
        silent = [peer for peer in known if now - peer.heard > limit_sec]
        if not silent and all(peer.beat["idle_sec"] <= limit_sec for peer in known):
            return None
        behind = min(peer.beat.get("count", 0) for peer in there)
        suspects = silent or [peer for peer in there if peer.beat.get("count", 0) == behind]
        suspects = [peer for peer in suspects if not peer.beat.get("waiting")] or suspects
        if not silent and any(peer.beat.get("busy") for peer in suspects):
            return None
        names = ", ".join(str(peer.rank) for peer in suspects)
        what = "has given no sign of life" if silent else "has made no progress"
        line = f"process {names} {what} for {name_limit(self._limit_sec, set_up)}{_place(suspects[0])}"
        kind = "gone" if silent else "stalled"
        return {"kind": kind, "rank": suspects[0].rank, "ranks": [peer.rank for peer in suspects], "line": line}

    def _pronounce(self, verdict: dict[str, Any]) -> None:
        """Tell the one it is about, who speaks first, then the others; the first process last: the hub ends with it."""
        guilty = verdict.get("ranks", [verdict["rank"]])
        others = [rank for rank in self._peers if rank not in guilty]
        # The one that failed has spoken already, and waits to hear that the others know.
        first = guilty if verdict["kind"] == "stalled" else []
        self._tell([rank for rank in first if rank], verdict)
        if 0 in first:
            self._tell([0], {**verdict, "kind": "speak"})
        self._tell([rank for rank in others if rank], verdict)
        if verdict["kind"] in ("failed", "memory"):
            self._tell([rank for rank in guilty if rank], verdict)
        self._tell([0], verdict)

    def _tell(self, ranks: list[int], verdict: dict[str, Any]) -> None:
        """Send, and wait until each has answered, has gone, or has had its time."""
        peers = [self._peers[rank] for rank in ranks if rank in self._peers and self._peers[rank].lines.open]
        for peer in peers:
            peer.acknowledged = False
            peer.lines.send(verdict)
        deadline = time.monotonic() + ACKNOWLEDGE_SEC
        while time.monotonic() < deadline and any(p.lines.open and not p.acknowledged for p in peers):
            for peer, message in self._listen(0.05):
                peer.acknowledged = peer.acknowledged or message["kind"] == "ack"


def _place(peer: Peer) -> str:
    """Where it was when it was last heard of."""
    beat = peer.beat
    if beat.get("set_up"):
        return f"; it was at: {beat['phase']}"
    return f"; it had finished {beat['step']} steps and was at: {beat['phase']}" if beat.get("count") else ""


def limit(limit_sec: float, set_up: bool) -> float:
    """How long a process may make no progress, in seconds."""
    return max(SET_UP_FACTOR * limit_sec, SET_UP_LEAST_SEC) if set_up else limit_sec


def name_limit(limit_sec: float, set_up: bool) -> str:
    """In words: how long, and which key says so."""
    key = "upkeep.stall_limit_sec"
    return f"{limit(limit_sec, set_up):g} s ({f'{SET_UP_FACTOR:g} x {key} in a set-up' if set_up else key})"
