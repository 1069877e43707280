import copy
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from snakemake.utils import update_config

from musicgen_core.config.load import ConfigError
from musicgen_core.config.overlay import load_overlay, merge

values = st.recursive(
    st.none() | st.integers(0, 3) | st.lists(st.integers(0, 3), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
configs = st.dictionaries(st.sampled_from("abc"), values, max_size=3)


@given(configs, configs)
def test_it_merges_as_snakemake_does(below: dict, above: dict) -> None:
    before = copy.deepcopy((below, above))
    merged = merge(below, above)
    assert (below, above) == before
    update_config(below, above)
    assert merged == below


def test_a_part_of_a_config_is_laid_over_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    base = {"corpora": {"mine": {"path": "music"}}, "runs": {"base": {}}, "training": {"steps": 7}}
    Path("config.yaml").write_text(yaml.safe_dump(base))
    Path("longer.yaml").write_text("training: {batch_size: 4}\nruns: {slow: {training: {learning_rate: 0.0001}}}\n")
    root = load_overlay(Path("longer.yaml"))
    assert (root.training.steps, root.training.batch_size) == (7, 4)
    assert list(root.runs) == ["base", "slow"]
    assert load_overlay(Path("config.yaml")).training.steps == 7
    Path("longer.yaml").write_text("training: {stepps: 4}\n")
    with pytest.raises(ConfigError, match=r"^longer.yaml laid over config.yaml: training: unknown key `stepps`"):
        load_overlay(Path("longer.yaml"))
    Path("config.yaml").unlink()
    with pytest.raises(ConfigError, match=r"^longer.yaml: "):
        load_overlay(Path("longer.yaml"))
