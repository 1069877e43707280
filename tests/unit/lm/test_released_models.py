"""Names, shapes and counts of MusicGen's released models, on the meta device: no memory, no download."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_models import CODEC

from musicgen_core.config.condition import ChromaConditionConfig
from musicgen_core.config.data import CodecSpec
from musicgen_core.config.model import ModelConfig, T5ConditionerConfig
from musicgen_core.lm.keymap import CONDITIONER_PREFIX, to_transformers
from musicgen_core.lm.model import LanguageModel, build_model

MONO = replace(CODEC, sample_rate_hz=32_000, card=2048, hop_samples=640)
STEREO = replace(MONO, num_channels=2, num_codebooks=8, interleaved=True)


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As much of t5-base as is read before it is used: its width."""
    folder = tmp_path_factory.mktemp("t5")
    (folder / "config.json").write_text(json.dumps({"model_type": "t5", "d_model": 768}))
    return folder


def build(size: Any, t5: Path, codec: CodecSpec = MONO, melody: bool = False) -> LanguageModel:
    words = T5ConditionerConfig(kind="t5", path=str(t5), fusion="prepend" if melody else "cross")
    conditions: Any = {"self_wav": ChromaConditionConfig(kind="chroma", num_frames=235)} if melody else {}
    return build_model(ModelConfig(size=size, conditions=conditions), words, codec, device="meta")


# trainable parameters, by running AudioCraft's builders (commit 896ec7c)
COUNTS = [
    ("small", MONO, False, 420_371_456),
    ("medium", MONO, False, 1_838_737_920),
    ("large", MONO, False, 3_256_956_928),
    ("medium", MONO, True, 1_385_625_600),
    ("large", MONO, True, 2_451_480_576),
    ("small", STEREO, False, 437_152_768),
    ("medium", STEREO, False, 1_863_909_888),
    ("large", STEREO, False, 3_290_519_552),
    ("large", STEREO, True, 2_485_043_200),
]


@pytest.mark.parametrize(("size", "codec", "melody", "expected"), COUNTS)
def test_parameter_counts(size: str, codec: CodecSpec, melody: bool, expected: int, t5: Path) -> None:
    assert sum(parameter.numel() for parameter in build(size, t5, codec, melody).parameters()) == expected


@pytest.mark.parametrize(("shape", "expected"), [((64, 2, 2), 1_230_016), ((512, 8, 8), 42_364_416)])
def test_parameter_counts_of_audiocrafts_other_scales(shape: tuple[int, int, int], expected: int, t5: Path) -> None:
    """Its `xsmall` and `base`; per layer 16 D^2 + 6 D, without cross-attention 12 D^2 + 4 D."""
    dim, num_heads, num_layers = shape
    config = ModelConfig(dim=dim, num_heads=num_heads, num_layers=num_layers)
    for fusion, layer in (("cross", 16 * dim**2 + 6 * dim), ("prepend", 12 * dim**2 + 4 * dim)):
        words = T5ConditionerConfig(kind="t5", path=str(t5), fusion=fusion)  # type: ignore[arg-type]
        model = build_model(config, words, MONO, device="meta")
        assert [sum(p.numel() for p in one.parameters()) for one in model.transformer.layers] == [layer] * num_layers
        if fusion == "cross":
            assert sum(parameter.numel() for parameter in model.parameters()) == expected


@pytest.mark.parametrize(("size", "num_heads"), [("small", 16), ("medium", 24), ("large", 32)])
def test_heads_are_written_out(size: str, num_heads: int, t5: Path) -> None:
    """transformers' default is 16 whatever the width; AudioCraft's are 64 wide."""
    from musicgen_core.lm.interchange import decoder_config

    for melody in (False, True):
        config = decoder_config(build(size, t5, melody=melody), melody)
        assert config.num_attention_heads == num_heads
        assert config.hidden_size // num_heads == 64


@pytest.mark.parametrize(("size", "codec", "melody", "expected"), COUNTS)
def test_names_and_shapes_are_audiocrafts(size: str, codec: CodecSpec, melody: bool, expected: int, t5: Path) -> None:
    found = {name: list(tensor.shape) for name, tensor in build(size, t5, codec, melody).state_dict().items()}
    dim, layers = {"small": (1024, 24), "medium": (1536, 48), "large": (2048, 48)}[size]
    assert found == audiocraft_shapes(dim, layers, codec.num_codebooks, melody)


def audiocraft_shapes(dim: int, num_layers: int, num_codebooks: int, melody: bool) -> dict[str, list[int]]:
    """Written out from audiocraft/models/lm.py, modules/transformer.py and modules/conditioners.py."""
    provider = "condition_provider.conditioners"
    shapes = {
        f"{provider}.description.output_proj.weight": [dim, 768],
        f"{provider}.description.output_proj.bias": [dim],
    }
    if melody:
        shapes |= {f"{provider}.self_wav.output_proj.weight": [dim, 12], f"{provider}.self_wav.output_proj.bias": [dim]}
    for k in range(num_codebooks):
        shapes |= {f"emb.{k}.weight": [2049, dim], f"linears.{k}.weight": [2048, dim]}
    for i in range(num_layers):
        layer = f"transformer.layers.{i}"
        shapes |= {
            f"{layer}.self_attn.in_proj_weight": [3 * dim, dim],
            f"{layer}.self_attn.out_proj.weight": [dim, dim],
            f"{layer}.linear1.weight": [4 * dim, dim],
            f"{layer}.linear2.weight": [dim, 4 * dim],
        }
        norms = ["norm1", "norm2"]
        if not melody:
            shapes[f"{layer}.cross_attention.in_proj_weight"] = [3 * dim, dim]
            shapes[f"{layer}.cross_attention.out_proj.weight"] = [dim, dim]
            norms.append("norm_cross")
        for norm in norms:
            shapes |= {f"{layer}.{norm}.weight": [dim], f"{layer}.{norm}.bias": [dim]}
    return {**shapes, "out_norm.weight": [dim], "out_norm.bias": [dim]}


@pytest.mark.parametrize(("size", "codec", "melody", "expected"), COUNTS)
def test_names_and_shapes_are_transformers(size: str, codec: CodecSpec, melody: bool, expected: int, t5: Path) -> None:
    import torch
    from transformers import MusicgenForCausalLM, MusicgenMelodyForCausalLM

    from musicgen_core.lm.interchange import decoder_config

    model = build(size, t5, codec, melody)
    state = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith(CONDITIONER_PREFIX)}
    with torch.device("meta"):
        theirs = (MusicgenMelodyForCausalLM if melody else MusicgenForCausalLM)(decoder_config(model, melody))
    found = {name: tensor.shape for name, tensor in to_transformers(state).items()}
    assert found == {name: tensor.shape for name, tensor in theirs.state_dict().items()}
