"""Instructions that each kernel takes for a fixed input, by callgrind, against the record: over 5 % more fails.

A count is a property of the code and the compilers, not of the machine or its load. Counts of other compilers are on
record beside each other, and a pair that is not is skipped. To record the counts of this machine's compilers:

    python tests/native/test_instruction_counts.py
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RECORD = Path(__file__).with_name("instruction_counts.json")
TOLERANCE = 1.05


def count() -> tuple[str, dict[str, int]]:
    """-> (compilers, instructions by kernel, what it calls included)."""
    command = ["cargo", "build", "--locked", "--quiet", "--example", "kernels", "--message-format=json"]
    built = subprocess.run(command, cwd=ROOT / "rust_loader", capture_output=True, text=True, check=True)
    messages = [json.loads(line) for line in built.stdout.splitlines()]
    (binary,) = [m["executable"] for m in messages if m.get("target", {}).get("kind") == ["example"]]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "callgrind.out")
        command = ["valgrind", "--tool=callgrind", "--quiet", f"--callgrind-out-file={out}", binary]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        costs = inclusive_costs(out.read_text())
    compilers = "; ".join(re.findall(r"^(?:c\+\+|rust): (.*)$", run.stdout, re.MULTILINE))
    ran = re.findall(r"^(\w+): run$", run.stdout, re.MULTILINE)
    return compilers, {name: costs[f"kernels::{name}"] for name in ran}


def inclusive_costs(profile: str) -> dict[str, int]:
    """Cost of the calls of each function that is called once (https://valgrind.org/docs/manual/cl-format.html): names
    are `(number) name` where first met and `(number)` later; the line behind `calls=` ends in the inclusive cost."""
    names: dict[str, str] = {}
    costs: dict[str, int] = {}
    callee = ""
    lines = iter(profile.splitlines())
    for line in lines:
        if match := re.match(r"c?fn=\((\d+)\)(?: (.*))?", line):
            number, name = match.groups()
            if name is not None:
                names[number] = name
            if line.startswith("cfn"):
                callee = names[number]
        elif line.startswith("calls=1 "):
            costs[callee] = int(next(lines).split()[-1])
    return costs


def risen(known: dict[str, int], counts: dict[str, int]) -> dict[str, tuple[int, int]]:
    """Kernels that need over 5 % more than `known` -> (known, now). A kernel that is not on record has risen from 0."""
    return {name: (known.get(name, 0), now) for name, now in counts.items() if now > TOLERANCE * known.get(name, 0)}


def test_five_percent_more_is_flagged():
    known = {"peak": 1000, "mix": 200_000}
    assert risen(known, {"peak": 1050, "mix": 210_000}) == {}
    assert risen(known, {"peak": 900, "mix": 1}) == {}
    assert risen(known, {"peak": 1051, "mix": 210_000}) == {"peak": (1000, 1051)}
    assert risen(known, {"peak": 5000, "mix": 210_001}) == {"peak": (1000, 5000), "mix": (200_000, 210_001)}
    assert risen(known, {"new": 1}) == {"new": (0, 1)}


def test_the_profile_is_read_with_what_a_kernel_calls():
    profile = (
        "fn=(1) main\n12 5\ncfn=(2) kernels::peak\ncalls=1 30\n13 700\nfn=(2)\n31 650\ncfn=(3) libm\ncalls=9 1\n32 50\n"
    )
    assert inclusive_costs(profile) == {"kernels::peak": 700}


def test_no_kernel_needs_more_instructions_than_on_record():
    for tool in ("valgrind", "cargo"):
        if shutil.which(tool) is None:
            assert not os.environ.get("CI"), f"continuous integration needs {tool}"
            pytest.skip(f"needs {tool}")
    record = json.loads(RECORD.read_text())
    compilers, counts = count()
    assert {"fir_julius24_baseline", "fir_hq_scalar", "peak"} <= counts.keys()
    if compilers not in record:
        pytest.skip(f"no counts on record for {compilers}; there are those of {', '.join(record)}")
    more = risen(record[compilers], counts)
    assert not more, "more instructions than on record; if that is meant, record them: see the top of this file"


if __name__ == "__main__":
    recorded = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    compilers, counts = count()
    recorded[compilers] = counts
    RECORD.write_text(json.dumps(recorded, indent=2) + "\n")
    print(f"{RECORD}: {compilers}: {counts}")
