"""The variables that messages name are those that the profile reads and config/README.md explains."""

import re
from pathlib import Path

from musicgen_core.config import site

ROOT = Path(__file__).parents[3]


def test_variables_of_messages_profile_and_readme_agree() -> None:
    named = set(re.findall(r"MUSICGEN_\w+", (ROOT / "musicgen_core/config/site.py").read_text()))
    read = set(re.findall(r"MUSICGEN_\w+", (ROOT / "profiles/slurm/profile.yaml").read_text()))
    explained = set(re.findall(r"`(MUSICGEN_\w+)`", (ROOT / "config/README.md").read_text()))
    assert named <= read
    assert read <= explained
    assert set(site.TRAINING) == set(site.BUCKETS) == set(site.OTHERS)


def test_every_row_of_what_happens_when_names_a_test_that_exists() -> None:
    rows = [line for line in (ROOT / "docs/slurm.md").read_text().splitlines() if line.startswith("| ")][1:]
    defined = "".join(path.read_text() for path in (ROOT / "tests/slurm").glob("test_*.py"))
    for row in rows:
        named = re.findall(r"`(test_\w+)`", row)
        assert named, row
        assert [name for name in named if f"def {name}(" not in defined] == []
