"""`musicgen convert`: a model from one layout to another: an export of ours, transformers', AudioCraft's."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musicgen_core.config.pickles import require_pickle
from musicgen_core.config.store import read_license, require_commercial
from musicgen_core.layouts.detect import Layout, detect
from musicgen_core.util.atomic import atomic_folder
from musicgen_core.util.log import say

if TYPE_CHECKING:
    from musicgen_core.layouts.imported import Imported


def run(
    *,
    source: Path,
    out: Path,
    layout: Layout = "musicgen",
    codec: Path | None = None,
    text_encoder: Path | None = None,
    mask_condition_padding: bool = False,
    accept_noncommercial: bool = False,
    accept_pickle: bool = False,
) -> None:
    """Write `out` in `layout` from `source`, all or nothing; what `source` is, its files say.

    `source`: an export of ours; a folder of transformers' MusicGen or MusicGen Melody; AudioCraft's folder with
    state_dict.bin and compression_state_dict.bin, or one such file or checkpoint.th. Those are pickles and need
    `accept_pickle`; nothing in them is run: torch's weights-only unpickler reads them. `codec` and `text_encoder` (T5)
    are folders for what the source only names. `mask_condition_padding` says that the weights were trained with padded
    text hidden, as transformers trains; Meta's were not, and our own exports' folders say it themselves. Each missing,
    unexpected and mismatched weight is an error that names it.
    """
    kind = detect(source)
    folder = source if source.is_dir() else source.parent
    require_commercial(read_license(folder), _origin(folder), accept_noncommercial, "--accept-noncommercial")
    require_pickle(source, accept_pickle, "--accept-pickle")
    if kind == "musicgen":
        _write(source, out, layout, codec)
        return
    from musicgen_core.layouts.save_imported import save_imported

    imported = _read(kind, source, codec, text_encoder, mask_condition_padding)
    if layout == "musicgen":
        with atomic_folder(out) as temporary:
            model = save_imported(temporary, imported)
        say(f"{source}: {sum(p.numel() for p in model.parameters()):,} parameters of {kind}'s layout, now in {out}")
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as temporary_name:
        save_imported(Path(temporary_name), imported)
        _write(Path(temporary_name), out, layout, None)


def _read(
    kind: Layout, source: Path, codec: Path | None, text_encoder: Path | None, mask_condition_padding: bool
) -> Imported:
    if kind == "audiocraft":
        from musicgen_core.layouts.audiocraft_files import read_audiocraft

        return read_audiocraft(source, codec, text_encoder)
    from musicgen_core.layouts.transformers_read import read_transformers

    return read_transformers(source, mask_condition_padding)


def _write(export: Path, out: Path, layout: Layout, codec: Path | None) -> None:
    """From an export of ours."""
    from musicgen_core.lm.weights import codec_folder, load_export, read_words

    if layout == "musicgen":
        raise ValueError(f"{export} is an export of this project already; --layout transformers or audiocraft")
    model, info = load_export(export)
    folder = codec or codec_folder(export)
    if folder is None:
        raise FileNotFoundError(f"{export}: an old export without codec/; give its codec's folder as --codec")
    segment_sec = float(info["training"]["segment_sec"])
    with atomic_folder(out) as temporary:
        if layout == "audiocraft":
            from musicgen_core.layouts.audiocraft_files import write_audiocraft

            notes = write_audiocraft(temporary, model, folder, segment_sec)
        else:
            notes = _write_transformers(temporary, model, folder, segment_sec, info, read_words(export))
    for note in notes:
        say(f"note: {note}")
    say(f"{export}: now in {out}, in the layout of {layout}")


def _write_transformers(
    folder: Path, model: Any, codec: Path, segment_sec: float, info: dict[str, Any], words: list[str]
) -> list[str]:
    from musicgen_core.layouts.obstacles import generation_notes
    from musicgen_core.layouts.transformers_write import save_composite

    num_frames = max(1, round(segment_sec * info["codec"]["sample_rate_hz"] / info["codec"]["hop_samples"]))
    save_composite(folder, model, codec, words, num_frames)
    return generation_notes(model)


def _origin(folder: Path) -> str:
    """What the weights are, for the licence: the hub id that the config names, else the folder's name."""
    try:
        named = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("_name_or_path")
    except (FileNotFoundError, json.JSONDecodeError, AttributeError):
        named = None
    return str(named or folder).replace("--", "/")
