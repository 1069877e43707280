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
    known = record[compilers]
    risen = {name: (known[name], now) for name, now in counts.items() if now > TOLERANCE * known[name]}
    assert not risen, "more instructions than on record; if that is meant, record them: see the top of this file"
    assert counts.keys() <= known.keys()


if __name__ == "__main__":
    recorded = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    compilers, counts = count()
    recorded[compilers] = counts
    RECORD.write_text(json.dumps(recorded, indent=2) + "\n")
    print(f"{RECORD}: {compilers}: {counts}")
