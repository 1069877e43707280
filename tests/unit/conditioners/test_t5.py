import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from musicgen_core.conditioners.build import build_conditioner
from musicgen_core.conditioners.t5 import T5Conditioner
from musicgen_core.config.model import T5ConditionerConfig

FORMAT = {"format": "pt"}


def build(folder: Path, max_tokens: int = 256, cache_mb: int = 0) -> T5Conditioner:
    torch.manual_seed(0)
    config = T5ConditionerConfig(kind="t5", path=str(folder), max_tokens=max_tokens, cache_mb=cache_mb)
    conditioner = build_conditioner(config, output_dim=6)
    assert isinstance(conditioner, T5Conditioner)
    return conditioner


def test_encoder_is_outside_the_module_tree(t5_folder: Path) -> None:
    conditioner = build(t5_folder)
    conditioner(conditioner.prepare(["a slow rock"]))
    assert set(conditioner.state_dict()) == {"output_proj.weight", "output_proj.bias"}
    assert conditioner.output_proj.weight.shape == (6, 16)


def test_equals_transformers_and_is_frozen(t5_folder: Path) -> None:
    from transformers import T5EncoderModel

    conditioner = build(t5_folder).train()
    prepared = conditioner.prepare(["a slow rock ballad", "techno"])
    assert prepared.mask_BL.tolist() == [[1] * 5, [1, 1, 0, 0, 0]]
    assert prepared.ids_BL[1].tolist() == [10, 1, 0, 0, 0]
    model = T5EncoderModel.from_pretrained(t5_folder).eval()
    expected = model(input_ids=prepared.ids_BL, attention_mask=prepared.mask_BL.long()).last_hidden_state
    expected = conditioner.output_proj(expected) * prepared.mask_BL[..., None]
    condition = conditioner(prepared)
    torch.testing.assert_close(condition.embeddings_BLD, expected, atol=1e-6, rtol=0)
    condition.embeddings_BLD.sum().backward()
    assert conditioner.output_proj.weight.grad is not None


def test_absent_captions_are_exact_zeros(t5_folder: Path) -> None:
    conditioner = build(t5_folder)
    condition = conditioner(conditioner.prepare([None, "rock", ""]))
    assert condition.mask_BL.tolist() == [[0, 0], [1, 1], [0, 0]]
    assert condition.embeddings_BLD.isfinite().all()
    assert condition.embeddings_BLD[[0, 2]].eq(0).all()
    alone = conditioner(conditioner.prepare([None]))
    assert alone.embeddings_BLD.shape == (1, 1, 6)
    assert alone.embeddings_BLD.eq(0).all()


def test_stays_in_float32_under_autocast(t5_folder: Path) -> None:
    conditioner = build(t5_folder)
    prepared = conditioner.prepare(["a slow rock ballad"])
    with torch.autocast("cpu", torch.bfloat16):
        hidden = conditioner.encode(prepared)
    assert hidden.dtype == torch.float32
    assert torch.equal(hidden, conditioner.encode(prepared))


def test_long_captions_keep_their_end_mark(t5_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conditioner = build(t5_folder, max_tokens=3)
    assert conditioner.prepare(["a slow rock ballad"]).ids_BL.tolist() == [[3, 4, 1]]
    assert "this one has 5 tokens, the conditioner takes 3" in capsys.readouterr().err


def test_width_is_known_without_loading(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "t5", "d_model": 768}))
    assert build(tmp_path).output_proj.weight.shape == (6, 768)


def test_bad_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"conditioner\.path: no folder .*absent"):
        build(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match=r"config\.json: absent"):
        build(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"config\.json: no T5 config .*'d_model'"):
        build(tmp_path)


def test_cached_states_change_no_bit(t5_folder: Path) -> None:
    plain, cached = build(t5_folder), build(t5_folder, cache_mb=1)
    batches = [["a slow rock ballad", None], ["techno", "a slow rock ballad", ""], [None]]
    first = [cached(cached.prepare(batch)).embeddings_BLD for batch in batches]
    again = [cached(cached.prepare(batch)).embeddings_BLD for batch in reversed(batches)][::-1]
    for one, other, batch in zip(first, again, batches, strict=True):
        assert torch.equal(one, other)
        torch.testing.assert_close(one, plain(plain.prepare(batch)).embeddings_BLD, atol=1e-6, rtol=0)
    assert torch.equal(first[0][0], first[1][1]), "whatever stands beside it"


def test_the_cache_keeps_to_its_memory(t5_folder: Path) -> None:
    conditioner = build(t5_folder, cache_mb=1)
    states = conditioner.states
    assert states is not None
    states.max_bytes = 3 * 16 * 4 * 2
    for caption in ("slow rock", "fast techno", "a ballad"):
        conditioner(conditioner.prepare([caption]))
        assert states.num_bytes == sum(state.nbytes for state in states.kept.values()) <= states.max_bytes
    assert len(states.kept) == 2


def test_a_t5_that_is_not_whole_is_refused(t5_folder: Path, tmp_path: Path) -> None:
    """transformers would make up what is missing; the decoder of a whole T5 may be there."""
    folder = Path(shutil.copytree(t5_folder, tmp_path / "t5"))
    state = load_file(folder / "model.safetensors")
    name = "encoder.block.1.layer.0.SelfAttention.q.weight"
    save_file({**state, "decoder.final_layer_norm.weight": torch.ones(16)}, folder / "model.safetensors", FORMAT)
    assert build(folder)(build(folder).prepare(["rock"])).embeddings_BLD.isfinite().all()
    for change, message in (
        ({key: value for key, value in state.items() if key != name}, rf"missing: {re.escape(name)}\. Fetch"),
        (
            {**state, name: torch.zeros(3, 3)},
            rf"another shape: {re.escape(name)} is \[3, 3\], the model has \[16, 16\]",
        ),
    ):
        save_file(change, folder / "model.safetensors", FORMAT)
        conditioner = build(folder)
        with pytest.raises(ValueError, match=message):
            conditioner(conditioner.prepare(["rock"]))
