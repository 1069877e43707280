"""A model with its codec and its words' encoder as one folder for transformers.

`MusicgenForConditionalGeneration.from_pretrained(folder)` (melody: `MusicgenMelodyForConditionalGeneration`) and
`AutoProcessor.from_pretrained(folder)` load it without this project.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from musicgen_core.codec.convert import read_as_transformers
from musicgen_core.config.condition import ChromaConditionConfig
from musicgen_core.layouts.chroma_keys import OWN_KEY, keep_own, write_extractor
from musicgen_core.layouts.obstacles import generation_notes, is_melody, transformers_obstacles
from musicgen_core.layouts.text_encoder import TextEncoder, express_text_encoder
from musicgen_core.lm.interchange import MASK_KEY, decoder_config, save_transformers
from musicgen_core.lm.keymap import PROJECTION_RULES, to_transformers
from musicgen_core.lm.model import LanguageModel
from musicgen_core.util.atomic import write_json
from musicgen_core.util.keyrules import to_theirs


def save_composite(
    folder: Path, model: LanguageModel, codec_folder: Path, words: Iterable[str], num_frames: int
) -> None:
    """Write config.json, generation_config.json, model.safetensors (float32), the tokenizer and the preprocessor.

    `words` are the tokenizer's vocabulary when words are looked up in a table; `num_frames` is how long a sample is
    when nothing else is asked for. Raises ValueError with the reason when transformers cannot hold this model.
    """
    from safetensors.torch import save_file

    if obstacles := transformers_obstacles(model):
        raise ValueError("; ".join(obstacles))
    text = express_text_encoder(model.conditioner, words, model.config.shape[0])
    settings, codec_state = read_as_transformers(codec_folder)
    with _without_warnings("transformers.configuration_utils"):  # of a special token beyond the codes: MusicGen's own
        _config(model, text, settings).save_pretrained(folder)
    _write_generation_config(folder, model, num_frames)
    _write_processor(folder, model, text, settings)
    save_file(_state(model, text, codec_state), folder / "model.safetensors", metadata={"format": "pt"})


@contextmanager
def _without_warnings(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def save_for_transformers(
    folder: Path, model: LanguageModel, codec_folder: Path, words: Iterable[str], num_frames: int
) -> list[str]:
    """`save_composite` where transformers can hold the model, else the language model alone; -> notes for the user."""
    try:
        save_composite(folder, model, codec_folder, words, num_frames)
    except ValueError as error:
        save_transformers(folder, model)
        return [f"{error}: the folder holds the language model alone", *generation_notes(model)]
    return generation_notes(model)


def _config(model: LanguageModel, text: TextEncoder, settings: dict[str, Any]) -> Any:
    from transformers import EncodecConfig, MusicgenConfig, MusicgenMelodyConfig, T5Config

    known = {key: value for key, value in text.config.items() if key not in ("model_type", "transformers_version")}
    parts: dict[str, Any] = {
        "text_encoder": T5Config(**known).to_dict(),
        "audio_encoder": EncodecConfig(**settings).to_dict(),
        "decoder": decoder_config(model, melody=is_melody(model)).to_dict(),
        "dtype": "float32",
        MASK_KEY: model.config.mask_condition_padding,
    }
    if not is_melody(model):
        return MusicgenConfig(**parts, architectures=["MusicgenForConditionalGeneration"])
    parts[OWN_KEY] = keep_own(_chroma(model))
    return MusicgenMelodyConfig(
        **parts,
        chroma_length=_chroma(model).num_frames,
        num_chroma=12,
        architectures=["MusicgenMelodyForConditionalGeneration"],
    )


def _state(model: LanguageModel, text: TextEncoder, codec_state: dict[str, Tensor]) -> dict[str, Tensor]:
    ours = {name: tensor.detach().float().cpu() for name, tensor in model.state_dict().items()}
    state = {f"decoder.{name}": tensor for name, tensor in to_transformers(ours).items()}
    state |= {f"enc_to_dec_proj.{name}": tensor for name, tensor in text.projection.items()}
    if is_melody(model):
        melody = {name: tensor for name, tensor in ours.items() if ".self_wav." in name}
        state |= to_theirs(melody, PROJECTION_RULES, "transformers' MusicGen Melody")
    state |= {f"audio_encoder.{name}": tensor.float() for name, tensor in codec_state.items()}
    state |= {
        f"text_encoder.{name}": tensor.float()
        for name, tensor in text.state.items()
        if name != "encoder.embed_tokens.weight"  # tied to shared.weight
    }
    return {name: tensor.contiguous() for name, tensor in state.items()}


def _write_generation_config(folder: Path, model: LanguageModel, num_frames: int) -> None:
    from transformers import GenerationConfig

    GenerationConfig(
        pad_token_id=model.special,
        bos_token_id=model.special,
        decoder_start_token_id=model.special,
        do_sample=True,
        guidance_scale=3.0,
        top_k=250,
        max_new_tokens=model.pattern(num_frames).num_steps - 1,  # beyond the start token
    ).save_pretrained(folder)


def _write_processor(folder: Path, model: LanguageModel, text: TextEncoder, settings: dict[str, Any]) -> None:
    """Tokenizer and feature extractor; the JSON of the latter by hand, so that torchaudio is not needed here."""
    text.tokenizer.save_pretrained(folder)
    rate_hz = settings["sampling_rate"]
    if not is_melody(model):
        extractor = {
            "feature_extractor_type": "EncodecFeatureExtractor",
            "feature_size": settings["audio_channels"],
            "sampling_rate": rate_hz,
            "padding_side": "left",
            "padding_value": 0.0,
            "return_attention_mask": True,
            "processor_class": "MusicgenProcessor",
        }
    else:
        extractor = write_extractor(_chroma(model))
    write_json(folder / "preprocessor_config.json", extractor)


def _chroma(model: LanguageModel) -> ChromaConditionConfig:
    found = model.config.conditions["self_wav"]
    assert isinstance(found, ChromaConditionConfig)
    return found
