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
