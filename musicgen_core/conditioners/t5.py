"""Frozen T5 or FLAN-T5 encoder followed by a learned projection (MusicGen uses t5-base)."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from musicgen_core.conditioners.base import Conditioner, Prepared
from musicgen_core.conditioners.pretrained import load_frozen
from musicgen_core.config.model import T5ConditionerConfig
from musicgen_core.config.store import resolve_asset


class T5Conditioner(Conditioner):
    """The encoder lives outside the module tree: not trained, not saved, not counted, and always in float32."""

    def __init__(self, config: T5ConditionerConfig, output_dim: int) -> None:
        folder = resolve_asset(config.path, config.revision, "conditioner.path")
        super().__init__(_read_width(folder), output_dim, config.max_tokens)
        self.encoder = FrozenT5(folder)
        self.states = StateCache(self.encoder, config.cache_mb << 20) if config.cache_mb > 0 else None

    def prepare(self, captions: Sequence[str | None]) -> Prepared:
        texts = [caption or "" for caption in captions]
        rows = self.encoder.tokenize(texts) if texts else []
        self.count_cut([len(row) for row in rows], "tokens")
        # the end mark stays when a caption is cut, as the tokenizer's own truncation does
        rows = [row if len(row) <= self.max_length else [*row[: self.max_length - 1], row[-1]] for row in rows]
        width = max(1, *(len(row) for row in rows)) if rows else 1
        ids_BL = torch.full((len(rows), width), self.encoder.pad_id, dtype=torch.int64)
        mask_BL = torch.zeros(len(rows), width, dtype=torch.bool)
        for number, (row, text) in enumerate(zip(rows, texts, strict=True)):
            ids_BL[number, : len(row)] = torch.tensor(row, dtype=torch.int64)
            mask_BL[number, : len(row)] = bool(text.strip())
        return Prepared(ids_BL, mask_BL)

    def encode(self, prepared: Prepared) -> Tensor:
        if self.states is not None:
            return self.states.encode(prepared.ids_BL, prepared.mask_BL)
        return self.encoder.encode(prepared.ids_BL, prepared.mask_BL)


class StateCache:
    """States of whole captions, each encoded by itself: what else is in a batch, or in the cache, changes no bit."""

    def __init__(self, encoder: FrozenT5, max_bytes: int) -> None:
        self.encoder, self.max_bytes, self.num_bytes = encoder, max_bytes, 0
        self.kept: OrderedDict[tuple[int, ...], Tensor] = OrderedDict()

    def encode(self, ids_BL: Tensor, mask_BL: Tensor) -> Tensor:
        """float32 [B, L, width]; zeros where the mask is False."""
        rows = [ids[mask] for ids, mask in zip(ids_BL.cpu(), mask_BL.cpu(), strict=True)]
        states = [self._find(row, ids_BL.device) if len(row) else None for row in rows]
        encoded_BLE = torch.zeros(*ids_BL.shape, self.encoder.width, device=ids_BL.device)
        for number, state in enumerate(states):
            if state is not None:
                encoded_BLE[number, : len(state)] = state
        return encoded_BLE

    def _find(self, ids_L: Tensor, device: torch.device) -> Tensor:
        key = tuple(ids_L.tolist())
        if key not in self.kept:
            ids_1L = ids_L[None].to(device)
            self.kept[key] = self.encoder.encode(ids_1L, torch.ones_like(ids_1L, dtype=torch.bool))[0].cpu()
            self.num_bytes += self.kept[key].nbytes
        self.kept.move_to_end(key)
        state = self.kept[key]
        while self.num_bytes > self.max_bytes:
            _, dropped = self.kept.popitem(last=False)
            self.num_bytes -= dropped.nbytes
        return state.to(device)


class FrozenT5:
    """Tokenizer and encoder of one folder, loaded when first used. Not a module on purpose: see T5Conditioner."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.width = _read_width(folder)
        self._tokenizer: Any = None
        self._model: Any = None

    @property
    def pad_id(self) -> int:
        return int(self._load_tokenizer().pad_token_id)

    def tokenize(self, texts: list[str]) -> list[list[int]]:
        """Token ids of each text with the end mark, neither padded nor cut."""
        return self._load_tokenizer()(texts, padding=False, truncation=False, verbose=False)["input_ids"]

    def show(self, text: str) -> list[str]:
        """The tokens of a text as their vocabulary writes them; `unknown` for what it lacks."""
        return self._load_tokenizer().convert_ids_to_tokens(self.tokenize([text])[0])

    @property
    def unknown(self) -> str:
        return str(self._load_tokenizer().unk_token)

    def load(self) -> None:
        """Read it now. ValueError names every weight that is missing or of another shape."""
        self._load_model(torch.device("cpu"))

    def encode(self, ids_BL: Tensor, mask_BL: Tensor) -> Tensor:
        """float32 hidden states [B, L, width]; autocast is off, for T5 overflows in 16 bit."""
        model = self._load_model(ids_BL.device)
        with torch.no_grad(), torch.autocast(ids_BL.device.type, enabled=False):
            return model(input_ids=ids_BL, attention_mask=mask_BL.long()).last_hidden_state

    def _load_tokenizer(self) -> Any:
        if self._tokenizer is None:
            from transformers import AutoTokenizer

            self._tokenizer = AutoTokenizer.from_pretrained(self.folder, local_files_only=True)
        return self._tokenizer

    def _load_model(self, device: torch.device) -> Any:
        if self._model is None:
            from transformers import T5EncoderModel

            self._model = load_frozen(T5EncoderModel, self.folder)
        if self._model.device != device:
            self._model = self._model.to(device)
        return self._model


def _read_width(folder: Path) -> int:
    """`d_model` of the folder's config.json, without loading the model."""
    path = folder / "config.json"
    try:
        return int(json.loads(path.read_text(encoding="utf-8"))["d_model"])
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: absent; conditioner.path must name a folder with a T5 model") from None
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: no T5 config ({error!r}); conditioner.path must name a T5 or FLAN-T5") from None
