"""MusicGen's language model: a causal transformer over interleaved codebook tokens (arXiv 2306.05284).

Parameter names are AudioCraft's, so that its weights load without renaming; `keymap.py` has transformers' names.

Legend: B batch, K codebooks, T frames, S steps, C cardinality, L condition length, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from musicgen_core.conditioners.base import Condition, Conditioner, Prepared
from musicgen_core.conditioners.build import build_conditioner
from musicgen_core.conditioners.fuse import Fused, fuse
from musicgen_core.conditioners.quantizer import ResidualQuantizer
from musicgen_core.conditioners.running_norm import RunningNorm
from musicgen_core.config.condition import Fusion
from musicgen_core.config.data import CodecSpec
from musicgen_core.config.model import ConditionerConfig, ModelConfig
from musicgen_core.config.pattern import resolve_pattern
from musicgen_core.lm.block import Transformer
from musicgen_core.lm.cache import Cache
from musicgen_core.patterns.apply import interleave, predicting_steps
from musicgen_core.patterns.layout import Pattern, build_pattern

DESCRIPTION = "description"
"""AudioCraft's name of the words among the conditions."""

Values = str | Mapping[str, Any] | None
"""What one sample is conditioned on: words alone, values by condition name (`description`: the words), or nothing."""

Conditions = Fused | Condition | Prepared | Mapping[str, Prepared] | None
"""What a batch is conditioned on, at any station on its way. A single Prepared or Condition is of the words."""


@dataclass(frozen=True)
class Predictions:
    """Logits of each code, aligned with the codes: no further shift is needed."""

    logits_BKTC: Tensor
    """NaN where the mask is False, so that a masking mistake shows."""

    mask_BKT: Tensor
    """bool: the pattern lets the model predict this code."""


def build_model(
    model: ModelConfig, conditioner: ConditionerConfig, codec: CodecSpec, device: torch.device | str = "cpu"
) -> LanguageModel:
    """Build for a codec. The weights are NaN until `initialize` or a load fills them; on `meta` there are none.

    Raises ValueError when model and codec do not fit each other, with both numbers.
    """
    config = resolve_model(model, codec)
    dim, _, _ = config.shape
    with torch.device("meta"):
        # sorted: a config that went through JSON has lost its order, and a prefix has one
        configs = {DESCRIPTION: conditioner, **dict(sorted(config.conditions.items()))}
        conditioners = {name: build_conditioner(item, dim) for name, item in configs.items()}
        built = LanguageModel(config, conditioners, {name: item.fusion for name, item in configs.items()})
    if torch.device(device).type == "meta":
        return built
    built = built.to_empty(device=device)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.fill_(float("nan"))
    for module in built.modules():
        if isinstance(module, ResidualQuantizer | RunningNorm):
            module.reset()
    return built


def resolve_model(model: ModelConfig, codec: CodecSpec) -> ModelConfig:
    """Fill in every key that the size or the codec decides. Raises ValueError with both numbers and the remedy."""
    for key in ("num_codebooks", "card"):
        expected, actual = getattr(model, key), getattr(codec, key)
        if expected is not None and expected != actual:
            raise ValueError(
                f"model.{key} is {expected}, but codec {codec.name} has {actual}; "
                f"set model.{key} to {actual} or null, or choose another codec"
            )
    dim, num_heads, num_layers = model.shape
    if dim % num_heads or dim % 2 or dim < 4:
        raise ValueError(f"model.dim {dim} must be even, at least 4 and a multiple of model.num_heads {num_heads}")
    return replace(
        model,
        dim=dim,
        num_heads=num_heads,
        num_layers=num_layers,
        num_codebooks=codec.num_codebooks,
        card=codec.card,
        mask_condition_padding=model.mask_condition_padding is not False,
        pattern=resolve_pattern(model.pattern, codec),
    )


class LanguageModel(nn.Module):
    """`config` is a resolved ModelConfig: every key is set. Token id `special` = card is the start and the filler."""

    def __init__(
        self, config: ModelConfig, conditioners: Mapping[str, Conditioner], fusions: Mapping[str, Fusion]
    ) -> None:
        super().__init__()
        assert config.num_codebooks is not None
        assert config.card is not None
        dim, num_heads, num_layers = config.shape
        self.config = config
        self.num_codebooks = config.num_codebooks
        self.card = self.special = config.card
        self.fusions = dict(fusions)
        self.condition_provider = ConditionProvider(conditioners)
        self.emb = nn.ModuleList(nn.Embedding(self.card + 1, dim) for _ in range(self.num_codebooks))
        self.transformer = Transformer(dim, num_heads, num_layers, config.dropout, "cross" in fusions.values())
        self.out_norm = nn.LayerNorm(dim)
        self.linears = nn.ModuleList(nn.Linear(dim, self.card, bias=False) for _ in range(self.num_codebooks))

    @property
    def conditioners(self) -> dict[str, Conditioner]:
        """By the name of the value that each reads; the words come first."""
        return cast(dict[str, Conditioner], dict(self.condition_provider.conditioners.items()))

    @property
    def conditioner(self) -> Conditioner:
        """The text conditioner: `conditioner(conditioner.prepare(captions).to(device))` is a Condition."""
        return self.conditioners[DESCRIPTION]

    def prepare(self, rows: Sequence[Values]) -> dict[str, Prepared]:
        """One row per sample -> CPU tensors of every condition. Raises ValueError for a name that is no condition."""
        filled = [{DESCRIPTION: row} if isinstance(row, str) else row for row in rows]
        for row in filled:
            if row is not None and (unknown := sorted(set(row) - set(self.fusions))):
                raise ValueError(f"the model is not conditioned on {', '.join(unknown)}, but on {list(self.fusions)}")
        prepared = {}
        for name, conditioner in self.conditioners.items():
            prepared[name] = conditioner.prepare([None if row is None else row.get(name) for row in filled])
        return prepared

    def fuse(self, condition: Conditions, batch: int) -> Fused:
        """Encode what is still to be encoded; conditions that are not given are null."""
        if isinstance(condition, Fused):
            return condition
        if condition is None or isinstance(condition, Condition | Prepared):
            given: Mapping[str, Any] = {} if condition is None else {DESCRIPTION: condition}
        else:
            given = condition
        encoded = {}
        for name, conditioner in self.conditioners.items():
            item = given.get(name)
            if item is None and self.fusions[name] != "prepend" and conditioner.null_is_zeros:
                continue  # zeros add nothing; a prefix of zeros still takes positions
            if isinstance(item, Prepared):
                item = conditioner(item)
            encoded[name] = item if item is not None else conditioner.null(batch)
        return fuse(encoded, self.fusions)

    def pattern(self, num_frames: int) -> Pattern:
        """Where the codes of so many frames stand. Raises ValueError for no frame, or too many."""
        return build_pattern(self.config.pattern, self.num_codebooks, num_frames)

    def compute_predictions(self, codes_BKT: Tensor, condition: Conditions) -> Predictions:
        """Teacher forcing: codes int64 in [0, card], `card` marking padding -> the logits that predict each of them."""
        pattern = self.pattern(codes_BKT.shape[2])
        sequence_BKS, _ = interleave(codes_BKT, pattern, self.special, keep_only_valid=True)
        return self.predict(sequence_BKS, pattern, condition)

    def predict(self, sequence_BKS: Tensor, pattern: Pattern, condition: Conditions) -> Predictions:
        """The same from codes that are laid out already: sequence_BKS int64 of either of the pattern's lengths."""
        x_BSD = self.hidden_states(sequence_BKS, condition)
        step_KT, mask_KT = predicting_steps(pattern, sequence_BKS.shape[2], sequence_BKS.device)
        # heads run where they predict something only: of K x S logits the unrolled pattern uses S
        logits = [linear(x_BSD.index_select(1, step_T)) for linear, step_T in zip(self.linears, step_KT, strict=True)]
        logits_BKTC = torch.stack(logits, dim=1).masked_fill_(~mask_KT[..., None], float("nan"))
        return Predictions(logits_BKTC, mask_KT.expand(len(sequence_BKS), -1, -1))

    def forward(self, sequence_BKS: Tensor, condition: Conditions, cache: Cache | None = None) -> Tensor:
        """sequence_BKS int64 in [0, card] -> logits_BKSC of the step after each.

        condition: Prepared values are encoded here, inside whatever wraps the module (FSDP gathers the projections'
        weights only here); None is unconditional and equals a batch of null values. With a cache the sequence holds
        new steps only, and cross-attention keeps the condition of the cache's first call.
        """
        return self.heads(self.hidden_states(sequence_BKS, condition, cache))

    def heads(self, x_BSD: Tensor) -> Tensor:
        """x_BSD -> logits_BKSC."""
        return torch.stack([linear(x_BSD) for linear in self.linears], dim=1)

    def hidden_states(self, sequence_BKS: Tensor, condition: Conditions, cache: Cache | None = None) -> Tensor:
        """What `forward` gives to the heads, x_BSD."""
        batch, _, num_new = sequence_BKS.shape
        fused = self.fuse(condition, batch)
        first = 0 if cache is None else cache.num_codes_steps
        num_steps = num_new if cache is None else cache.num_valid_steps
        x_BSD = fused.enter(sum_embeddings(self.emb, sequence_BKS), first, num_steps)
        source = fused.source
        source_BLD = source.embeddings_BLD.to(x_BSD.dtype) if source is not None else None
        x_BSD = self.transformer(x_BSD, source_BLD, self.source_mask(source), cache)
        if cache is not None:
            cache.num_codes_steps += num_new
        return self.out_norm(x_BSD[:, -num_new:])

    def source_mask(self, source: Condition | None) -> Tensor | None:
        """Positions that cross-attention may see, [B, 1, 1, L].

        A null row has none. It sees all of its zeros instead: their values are zeros, so it receives exactly zero,
        as in transformers, while a row without any key is NaN in some SDPA kernels.
        """
        if source is None or not self.config.mask_condition_padding:
            return None
        mask_BL = source.mask_BL
        return (mask_BL | ~mask_BL.any(dim=1, keepdim=True))[:, None, None]


class ConditionProvider(nn.Module):
    """Holds conditioners by the attribute they read. AudioCraft's name, so that parameters are found."""

    def __init__(self, conditioners: Mapping[str, Conditioner]) -> None:
        super().__init__()
        self.conditioners = nn.ModuleDict(conditioners)


def sum_embeddings(emb: nn.ModuleList, sequence_BKS: Tensor) -> Tensor:
    """Sum over codebooks of each codebook's embedding, [B, S, D]."""
    x_BSD = emb[0](sequence_BKS[:, 0])
    for k in range(1, len(emb)):
        x_BSD = x_BSD + emb[k](sequence_BKS[:, k])
    return x_BSD
