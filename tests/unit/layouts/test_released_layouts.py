"""Folders that transformers' own classes write, with the config fields of released models, generate the same here."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from small_t5 import write_t5

from musicgen_core.codec.convert import read_as_transformers
from musicgen_core.config.codec_spec import read_codec_folder, shipped_codec_folder
from musicgen_core.config.condition import ChromaConditionConfig
from musicgen_core.config.evaluation import GenerationConfig
from musicgen_core.config.pattern import DelayPatternConfig
from musicgen_core.lm.generate import generate
from musicgen_core.lm.weights import load_export
from musicgen_core.tools import convert

SHIPPED = shipped_codec_folder()
CARD = read_codec_folder(SHIPPED).card
NUM_FRAMES = 12
CAPTION = "slow rock ballad"
TUNE_LP = torch.eye(12)[[0, 4, 7, 4]]

# preprocessor_config.json of facebook/musicgen-melody
MELODY_EXTRACTOR = {
    "chunk_length": 30,
    "feature_extractor_type": "MusicgenMelodyFeatureExtractor",
    "feature_size": 12,
    "hop_length": 4096,
    "n_fft": 16384,
    "num_chroma": 12,
    "padding_side": "left",
    "padding_value": 0.0,
    "processor_class": "MusicgenMelodyProcessor",
    "return_attention_mask": False,
    "sampling_rate": 32000,
    "stem_indices": [3, 2],
}


def make_theirs(folder: Path, melody: bool, stereo: bool, heads: int, layers: int) -> Any:
    """A model by transformers' classes alone, random, small; `heads` of 16, as small, medium and large have of 64."""
    import transformers

    settings, codec = read_as_transformers(SHIPPED)
    t5 = write_t5(folder / "t5")
    num_codebooks = 8 if stereo else 4
    decoder = {
        "vocab_size": CARD,
        "hidden_size": 16 * heads,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "ffn_dim": 64 * heads,
        "num_codebooks": num_codebooks,
        "audio_channels": 2 if stereo else 1,
        "pad_token_id": CARD,
        "bos_token_id": CARD,
        "max_position_embeddings": 2048,
        "dropout": 0.1,  # of training alone, as Meta's files have it
    }
    parts: dict[str, Any] = {
        "text_encoder": transformers.T5Config.from_pretrained(t5).to_dict(),
        "audio_encoder": transformers.EncodecConfig(**settings).to_dict(),
        "decoder": decoder,
    }
    torch.manual_seed(5)
    if melody:
        config = transformers.MusicgenMelodyConfig(**parts, num_chroma=12, chroma_length=6)
        model = transformers.MusicgenMelodyForConditionalGeneration(config)
    else:
        model = transformers.MusicgenForConditionalGeneration(transformers.MusicgenConfig(**parts))
    model.audio_encoder.load_state_dict(codec)
    model.text_encoder = transformers.T5EncoderModel.from_pretrained(t5)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.startswith("decoder.lm_heads") or "enc_to_dec_proj" in name:
                weight.normal_(0, 1.0)  # clear winners, and conditions that matter
    ids = {"pad_token_id": CARD, "bos_token_id": CARD, "decoder_start_token_id": CARD}
    model.generation_config = transformers.GenerationConfig(**ids, do_sample=True, guidance_scale=3.0, max_length=1500)
    model.save_pretrained(folder / "theirs")
    transformers.AutoTokenizer.from_pretrained(t5).save_pretrained(folder / "theirs")
    if melody:
        (folder / "theirs" / "preprocessor_config.json").write_text(json.dumps(MELODY_EXTRACTOR))
    return model.eval()


def generate_theirs(model: Any, folder: Path, tune_LP: torch.Tensor | None) -> torch.Tensor:
    """Greedy codes [1, K, T]; of stereo, left and right in turn."""
    from transformers import AutoTokenizer

    found: list[torch.Tensor] = []
    decode = model.audio_encoder.decode

    def listen(codes: torch.Tensor, *arguments: Any, **options: Any) -> Any:
        found.append(codes)
        return decode(codes, *arguments, **options)

    model.audio_encoder.decode = listen
    inputs = AutoTokenizer.from_pretrained(folder)([CAPTION], return_tensors="pt")
    if tune_LP is not None:
        inputs["input_features"] = tune_LP[None]
    model.generate(**inputs, do_sample=False, max_new_tokens=NUM_FRAMES + 3)
    model.audio_encoder.decode = decode
    return torch.stack([codes[0] for codes in found], dim=2).flatten(1, 2)


@pytest.mark.filterwarnings("ignore")  # of transformers' own configs
@pytest.mark.parametrize(
    ("melody", "stereo", "heads", "layers"),
    [(False, False, 4, 2), (False, False, 6, 3), (False, True, 4, 2), (True, False, 4, 2), (True, True, 6, 2)],
    ids=["small", "medium", "stereo", "melody", "stereo melody"],
)
def test_greedy_codes_are_transformers(melody: bool, stereo: bool, heads: int, layers: int, tmp_path: Path) -> None:
    theirs = make_theirs(tmp_path, melody, stereo, heads, layers)
    convert.run(source=tmp_path / "theirs", out=tmp_path / "ours")
    model, info = load_export(tmp_path / "ours")
    assert model.config.shape == (16 * heads, heads, layers)
    assert model.config.dropout == 0
    assert not model.config.mask_condition_padding
    assert model.config.pattern == DelayPatternConfig(delays=(0, 0, 1, 1, 2, 2, 3, 3) if stereo else (0, 1, 2, 3))
    assert info["codec"]["num_channels"] == (2 if stereo else 1)
    if melody:
        assert model.config.conditions == {"self_wav": ChromaConditionConfig(kind="chroma", num_frames=6)}
    greedy = GenerationConfig(temperature=0, cfg_coef=3.0)
    answers = []
    for tune in (None, TUNE_LP) if melody else (None,):
        expected = generate_theirs(theirs, tmp_path / "theirs", tune)
        row = {"description": CAPTION, "self_wav": tune} if melody else CAPTION
        codes = generate(model, [row], NUM_FRAMES, greedy)
        assert torch.equal(codes, expected)
        assert len(codes.unique()) > 8
        answers.append(codes)
    assert not melody or not torch.equal(*answers)
