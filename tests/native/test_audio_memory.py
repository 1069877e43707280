"""Memory of a process that reads ever new audio files, and batches of tokens between: flat after the first ones."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import make, signal

FORMATS = ("wav_s16", "aiff_s24", "flac_s16", "mp3", "vorbis", "opus")
MORE_FORMATS = ("m4a_aac", "m4a_alac", "aac_adts", "webm_opus", "mkv_pcm", "mp3_vbr")
COPIES = 12
PROBE = """
import json, re, shutil, sys
from pathlib import Path
import torch
from token_corpus import SPEC, write_corpus
from musicgen_core import native
from musicgen_core.data.batches import TokenDataset
from musicgen_core.data.tracks import open_tracks

def anonymous_kb():
    return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

folder, copies, keep = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "keep"
manifest, index = write_corpus(folder)
tracks = open_tracks([manifest], [index], "train", SPEC)
tokens = TokenDataset(tracks, seed=0, batch_size=32, segment_frames=1500, min_segment_ratio=0.1)
sources = [path for path in folder.iterdir() if path.is_file() and "source" not in path.name]
files = [Path(shutil.copy(path, folder / f"{n} {path.name}")) for n in range(copies) for path in sources]
used, kept = [], []
for round_ in range(6):
    for number, path in enumerate(files):
        files[number] = path.rename(folder / f"{round_} {number}{path.suffix}")  # a file never seen before
        wav_CN = native.read_segment(files[number], 3000, 16000, sample_rate_hz=16000, num_channels=1)
        if number % 4 == 0:
            tokens.read(32 * (round_ * len(files) + number))
        if keep:
            kept.append(wav_CN.copy())
    used.append(anonymous_kb())
print(json.dumps({"files": len(files), "used": used}))
"""


@pytest.mark.parametrize("what", ["read", "keep"])
def test_memory_stays_flat_over_new_files_of_all_formats(tmp_path: Path, what: str) -> None:
    """`keep` is what a leak of each result would be: the test sees it."""
    for name in FORMATS:
        make(tmp_path, name, signal(60_000))
    for name in MORE_FORMATS:
        try:
            make(tmp_path, name, signal(60_000))
        except pytest.skip.Exception:  # without ffmpeg, soundfile's formats
            break
    command = [sys.executable, "-c", PROBE, str(tmp_path), str(COPIES), what]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1], check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    growth_kb = found["used"][-1] - found["used"][2]
    assert found["files"] >= 6 * COPIES
    # What is kept of a file (its name, where its samples are) takes 1 kB; of 3 rounds.
    flat = growth_kb < 3 * found["files"] * 2 + 2_000
    assert flat == (what == "read"), found
