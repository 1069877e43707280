import pytest
import torch
from small_models import make_model, make_transformers

from musicgen_core.lm.keymap import CONDITIONER_PREFIX, from_transformers, to_transformers
from musicgen_core.lm.model import LanguageModel


def test_covers_every_weight_both_ways(model: LanguageModel) -> None:
    ours = {k: v for k, v in model.state_dict().items() if not k.startswith(CONDITIONER_PREFIX)}
    theirs = to_transformers(model.state_dict())
    assert set(theirs) == set(make_transformers(make_model(seed=1)).state_dict())
    back = from_transformers(theirs)
    assert set(back) == set(ours)
    assert all(torch.equal(back[name], ours[name]) for name in ours)


def test_rows_of_the_fused_projection(model: LanguageModel) -> None:
    theirs = to_transformers(model.state_dict())
    fused = model.state_dict()["transformer.layers.1.cross_attention.in_proj_weight"]
    for part, rows in zip("qkv", fused.split(64), strict=True):
        assert torch.equal(theirs[f"model.decoder.layers.1.encoder_attn.{part}_proj.weight"], rows)


def test_unknown_names_are_errors(model: LanguageModel) -> None:
    with pytest.raises(KeyError, match=r"transformer\.layers\.0\.surprise"):
        to_transformers({"transformer.layers.0.surprise": torch.zeros(1)})
    with pytest.raises(KeyError, match=r"audio_enc_to_dec_proj\.weight, other"):
        from_transformers({"other": torch.zeros(1), "audio_enc_to_dec_proj.weight": torch.zeros(1)})


def test_a_missing_part_leaves_the_fused_weight_out(model: LanguageModel) -> None:
    theirs = to_transformers(model.state_dict())
    del theirs["model.decoder.layers.1.self_attn.k_proj.weight"]
    assert "transformer.layers.1.self_attn.in_proj_weight" not in from_transformers(theirs)
