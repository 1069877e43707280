"""The model card of an export: what it is, how to load it, and whose music went in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from musicgen_core.lm.model import LanguageModel

NUM_SHOWN = 50


def write_card(
    model: LanguageModel, info: Mapping[str, Any], architecture: str, notes: Sequence[str], lacks: Sequence[str] = ()
) -> str:
    """Markdown; `info` is the contents of the export's config.json.

    `architecture` is the class that loads transformers/, `notes` are what differs there, `lacks` what the folder needs
    besides itself.
    """
    dim, num_heads, num_layers = model.config.shape
    codec, licenses = info["codec"], info["licenses"]
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    rows = "\n".join(f"| {name} | {count} |" for name, count in sorted(licenses.items()))
    return f"""\
---
{_license(info)}tags: [music, musicgen, text-to-audio]
---
# A MusicGen model

A transformer of {num_layers} layers, width {dim}, {num_heads} heads ({num_parameters:,} parameters) over
{model.num_codebooks} codebooks of {model.card} entries in {describe_pattern(model)}, conditioned on
text by `{info["conditioner"]["kind"]}`. Averaged (EMA) weights of step {info["step"]}; validation cross-entropy
{info["loss"]:.4f} nats per code.

## Load it

```python
from musicgen_core.config.evaluation import GenerationConfig
from musicgen_core.lm.generate import generate
from musicgen_core.lm.weights import load_export

model, info = load_export("export")  # this folder
codes_BKT = generate(model, ["a caption"], num_frames=400, config=GenerationConfig())
```

`musicgen_core.codec.load.load_codec("export/codec").decode(codes_BKT)` turns codes into audio.

{"".join(f"This folder {line}." + chr(10) * 2 for line in lacks)}{_transformers_block(architecture)}
{_list_notes(notes)}
## Codec

`{codec["name"]}`, digest `{codec["digest"]}`: {codec["sample_rate_hz"]} Hz, {codec["num_channels"]} channel(s),
{codec["num_codebooks"]} codebooks of {codec["card"]}, {codec["hop_samples"]} samples per frame. Codes of any other
codec are noise to this model. A copy is in `codec/`; its weights keep their own
licence{_codec_note(codec["name"])}.

{_start(info)}## Training data

{info["tracks"]} tracks.

| licence | tracks |
|---|---|
{rows}

{_attributions(info["attributions"])}"""


def _license(info: Mapping[str, Any]) -> str:
    """Front matter: weights that began as others' carry their licence on."""
    name = (info.get("init_from") or {}).get("license")
    return f"license: {name.lower()}\n" if name else ""


def _start(info: Mapping[str, Any]) -> str:
    start = info.get("init_from")
    if not start:
        return ""
    revision = f" at revision `{start['revision']}`" if start["revision"] else ""
    stated = start["license"] or "not stated there"
    return f"""\
## Start

Training started from the weights of `{start["source"]}`{revision} (digest `{start["digest"]}`). Licence of those
weights: {stated}; these weights inherit it.

"""


def describe_pattern(model: LanguageModel) -> str:
    """The pattern in words: `pattern delay (delays 0 1 2 3)`."""
    values = {key: value for key, value in asdict(model.config.pattern).items() if key != "kind" and value != 0}
    shown = [f"{k} {' '.join(map(str, v)) if isinstance(v, tuple) else v}" for k, v in values.items()]
    return f"pattern {model.config.pattern.kind}" + (f" ({', '.join(shown)})" if shown else "")


def _transformers_block(architecture: str) -> str:
    if architecture.endswith("ForCausalLM"):
        return f"""\
`transformers/` holds the language model alone, for `transformers.{architecture}.from_pretrained`; the conditioner's
vectors go in as `encoder_hidden_states`, their mask as `encoder_attention_mask`.
"""
    return f"""\
`transformers/` holds all of it for transformers, which needs nothing of this project:

```python
from transformers import AutoTokenizer, {architecture}

model = {architecture}.from_pretrained("export/transformers")
tokenizer = AutoTokenizer.from_pretrained("export/transformers")
audio = model.generate(**tokenizer(["a caption"], padding=True, truncation=True, return_tensors="pt"))
```
"""


def _list_notes(notes: Sequence[str]) -> str:
    return "".join(f"- {note}\n" for note in notes) + ("\n" if notes else "")


def _codec_note(name: str) -> str:
    return " (EnCodec weights released by Meta: CC-BY-NC-4.0)" if name.startswith("encodec") else ""


def _attributions(attributions: Sequence[str]) -> str:
    if not attributions:
        return ""
    lines = "".join(f"- {line}\n" for line in attributions[:NUM_SHOWN])
    rest = len(attributions) - NUM_SHOWN
    return "## Attributions\n\n" + lines + (f"\nand {rest} more, in config.json\n" if rest > 0 else "")
