"""Names of an EnCodec's weights: AudioCraft's (and the `encodec` package's), and transformers' EncodecModel's. As data.

Both number the layers of encoder and decoder alike when the codec has an LSTM. transformers always has one; where there
is none (our tiny codec) its layers count one more from there on, and it gets an LSTM of zeros, which adds exactly zero:
EnCodec adds the LSTM's input to its output.

Sources: audiocraft/modules/{conv,seanet,lstm}.py and quantization/core_vq.py in facebookresearch/audiocraft;
models/encodec/modeling_encodec.py in huggingface/transformers.
"""

from __future__ import annotations

from dataclasses import dataclass

from musicgen_core.util.keyrules import Rule

# (AudioCraft's, transformers') names of one convolution's parts, with weight norm
CONV_PARTS: tuple[tuple[str, str], ...] = (
    ("weight_g", "parametrizations.weight.original0"),
    ("weight_v", "parametrizations.weight.original1"),
    ("bias", "bias"),
)

# the names of before torch.nn.utils.parametrizations: transformers' files of 2023
OLD_PARTS: tuple[tuple[str, str], ...] = (
    ("weight_g", "parametrizations.weight.original0"),
    ("weight_v", "parametrizations.weight.original1"),
)

LSTM_PARTS = ("weight_ih_l{m}", "weight_hh_l{m}", "bias_ih_l{m}", "bias_hh_l{m}")
CODEBOOK_PARTS = ("embed", "embed_avg", "cluster_size", "inited")


@dataclass(frozen=True, kw_only=True)
class Layers:
    """What decides where a layer stands."""

    num_ratios: int
    num_residual_layers: int = 1
    num_lstm_layers: int = 2

    def lstm(self, side: str) -> int:
        """Number of a side's LSTM in transformers."""
        return 1 + self.num_ratios * (self.num_residual_layers + 2) if side == "encoder" else 1

    @property
    def transposed(self) -> tuple[int, ...]:
        """Numbers of the decoder's transposed convolutions in transformers."""
        return tuple(3 + i * (self.num_residual_layers + 2) for i in range(self.num_ratios))

    def ours(self, side: str, theirs: int) -> int:
        """AudioCraft's number of transformers' layer `theirs`."""
        return theirs - 1 if self.num_lstm_layers == 0 and theirs > self.lstm(side) else theirs

    def num_layers(self, side: str) -> int:
        """Layers of a side in transformers: a convolution, the stages, the LSTM, an ELU and a convolution."""
        return 4 + self.num_ratios * (self.num_residual_layers + 2)


def codec_rules(layers: Layers) -> tuple[Rule, ...]:
    """(AudioCraft's, transformers') names of every weight of an EnCodec with weight norm."""
    rules: list[Rule] = []
    for side in ("encoder", "decoder"):
        lstm = layers.lstm(side)
        for theirs in range(layers.num_layers(side)):
            ours, here = f"{side}.model.{layers.ours(side, theirs)}", f"{side}.layers.{theirs}"
            if theirs == lstm:
                if layers.num_lstm_layers:
                    rules += [(f"{ours}.lstm.{part}", (f"{here}.lstm.{part}",)) for part in LSTM_PARTS]
                continue
            conv = "convtr.convtr" if side == "decoder" and theirs in layers.transposed else "conv.conv"
            for our_part, their_part in CONV_PARTS:
                rules.append((f"{ours}.{conv}.{our_part}", (f"{here}.conv.{their_part}",)))
                rules.append((f"{ours}.block.{{n}}.conv.conv.{our_part}", (f"{here}.block.{{n}}.conv.{their_part}",)))
                rules.append((f"{ours}.shortcut.conv.conv.{our_part}", (f"{here}.shortcut.conv.{their_part}",)))
    rules += [
        (f"quantizer.vq.layers.{{n}}._codebook.{part}", (f"quantizer.layers.{{n}}.codebook.{part}",))
        for part in CODEBOOK_PARTS
    ]
    return tuple(rules)
