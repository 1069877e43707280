"""Which files of a model on disk are pickles, and leave to open them."""

from __future__ import annotations

from pathlib import Path


def list_pickles(source: Path) -> list[Path]:
    """The files of a model that are pickles and would be read: AudioCraft's, and transformers' before safetensors."""
    if source.is_file():
        return [source]
    if any(source.glob("model*.safetensors")):
        return []
    audiocraft = (source / "state_dict.bin").is_file()
    return sorted(source.glob("*state_dict.bin" if audiocraft else "pytorch_model*.bin"))


def require_pickle(source: Path, accepted: bool, key: str) -> None:
    """ValueError for a model that lies in pickles unless `key` accepts them; nothing of them has been read then."""
    if (pickles := list_pickles(source)) and not accepted:
        remedy = f"Give {key}" if key.startswith("--") else f"Set {key}: true"
        raise ValueError(
            f"{pickles[0]}: a pickle, which may carry instructions; it was not opened. {remedy} to have torch's "
            "weights-only unpickler read it (tensors and plain values, nothing is run), or take safetensors"
        )
