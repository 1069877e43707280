"""Run as a script by test_processes.py: uses the extension here, in threads, and then in child processes.

Arguments: start method, audio file, token index. Prints "same" when every child found what the parent found."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import threading

from musicgen_core import native

HANG_SEC = 120
NUM_CHILDREN = {"fork": 12, "forkserver": 2, "spawn": 2}


def use(tokens: native.TokenShards, audio: str) -> str:
    """One digest of what every part of the extension says."""
    wav_CN, rate_hz = native.decode(audio)
    part_CN, _ = native.decode_segment(audio, 3000, 4000)
    mixed_CM = native.resample(native.mix(wav_CN, 1), rate_hz, 32_000)
    parts = [wav_CN.tobytes(), part_CN.tobytes(), mixed_CM.tobytes(), repr(native.measure(wav_CN, rate_hz)).encode()]
    parts += [repr(native.hash_files([audio] * 5, 3)).encode(), repr(native.probe(audio)).encode()]
    parts += [tokens.read(track).tobytes() for track in range(tokens.num_tracks)]
    return native.hash_bytes(b"".join(parts))


def child(tokens: native.TokenShards, audio: str, expected: str) -> None:
    signal.alarm(HANG_SEC)  # a child of fork inherits none
    sys.exit(0 if use(tokens, audio) == expected else 1)


def main(method: str, audio: str, index: str) -> None:
    signal.alarm(HANG_SEC)
    tokens = native.TokenShards(index)
    expected = use(tokens, audio)
    stop = threading.Event()

    def keep_using() -> None:
        while not stop.is_set():
            assert use(tokens, audio) == expected

    # a fork must not inherit a lock that one of these threads holds
    threads = [threading.Thread(target=keep_using) for _ in range(3)]
    for thread in threads:
        thread.start()
    context = multiprocessing.get_context(method)
    children = [context.Process(target=child, args=(tokens, audio, expected)) for _ in range(NUM_CHILDREN[method])]
    for process in children:
        process.start()
    for process in children:
        process.join()
    stop.set()
    for thread in threads:
        thread.join()
    codes = [process.exitcode for process in children]
    print("same" if codes == [0] * len(children) else f"exit codes {codes}")


if __name__ == "__main__":
    main(*sys.argv[1:])
