"""Memory and cost of opening, on an index of a million tracks made of numpy: nothing is kept that is not asked for.

Each measurement has a process of its own. Times are not asserted, page faults and anonymous memory are.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from many_tracks import write_many_tracks

PROBE = """
import json, re, resource, sys
from pathlib import Path
import numpy as np
from token_corpus import SPEC
from musicgen_core.config.sampling import SamplingConfig
from musicgen_core.data.batches import TokenDataset
from musicgen_core.data.tracks import open_tracks

def anonymous_kb():
    return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def use(folder, by):
    tracks = open_tracks([folder], [folder / "index.bin"], "train", SPEC)
    options = {"seed": 0, "batch_size": 16, "segment_frames": 50, "min_segment_ratio": 0.8}
    return TokenDataset(tracks, sampling=SamplingConfig(by=by), **options)

small, large, by = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
use(small, by).read(0)  # imports, first allocations
before, faulted = anonymous_kb(), faults()
dataset = use(large, by)
dataset.read(0)
opened, faulted = anonymous_kb(), faults() - faulted
for n in range(300):
    dataset.read(16 * n)
warm = anonymous_kb()
for n in range(300, 1500):
    dataset.read(16 * n)
print(json.dumps({"opened": opened - before, "faults": faulted, "looped": anonymous_kb() - warm}))
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("tracks")
    return write_many_tracks(root / "small", 100), write_many_tracks(root / "large", 1_000_000)


@pytest.mark.parametrize("by", ["weight", "track"])
def test_a_million_tracks_cost_no_more_than_a_hundred(folders: tuple[Path, Path], by: str) -> None:
    command = [sys.executable, "-c", PROBE, *map(str, folders), by]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1], check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["opened"] < 2_000, found  # kB; a million Python strings would take 80,000
    assert found["faults"] < 1_500, found  # pages of 4 kB; the files have 48,000
    assert found["looped"] < 1_000, found
