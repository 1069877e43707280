import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from musicgen_core.codec.load import load_codec
from musicgen_core.tools import demo_corpus, train_codec
from musicgen_core.tools.codec_loss import ReconstructionLoss, mel_filters


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "corpus"
    demo_corpus.run(out=folder, num_tracks=3)
    return folder


def test_short_training_is_reproducible_and_loads(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = train_codec.CodecRecipe(batch_size=2, segment_sec=0.2)
    monkeypatch.setattr(train_codec, "CodecRecipe", lambda: small)
    for name in ("a", "b"):
        train_codec.run(corpus=corpus, out=tmp_path / name, steps=100, seed=1)
    first, second = (load_file(tmp_path / name / "model.safetensors") for name in ("a", "b"))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert load_codec(tmp_path / "a").spec.digest == load_codec(tmp_path / "b").spec.digest
    provenance = json.loads((tmp_path / "a" / "provenance.json").read_text())
    assert len(provenance["corpus"]["digest"]) == 32
    assert len(provenance["reconstruction"]["codebooks"]) == 4
    assert str(tmp_path) not in (tmp_path / "a" / "provenance.json").read_text()


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no audio"):
        train_codec.run(corpus=tmp_path, out=tmp_path / "out", steps=100)
    with pytest.raises(ValueError, match="steps is 3"):
        train_codec.run(corpus=tmp_path, out=tmp_path / "out", steps=3)


def test_loss_is_zero_for_equal_and_grows_with_error() -> None:
    torch.manual_seed(0)
    loss, wav_BCN = ReconstructionLoss(16_000), torch.randn(2, 1, 8000) * 0.1
    assert loss(wav_BCN, wav_BCN).item() == 0.0
    small, large = (loss(wav_BCN + level * torch.randn_like(wav_BCN), wav_BCN).item() for level in (0.01, 0.1))
    assert 0.0 < small < large


def test_mel_filters_are_means_of_ascending_bands() -> None:
    filters_MF = mel_filters(16_000, 128, 20)
    np.testing.assert_allclose(filters_MF.sum(1), 1.0, rtol=1e-5)
    centres = (filters_MF * torch.arange(65)).sum(1)
    assert (centres.diff() >= 0).all()
    assert centres[-1] > 50


def test_shipped_codec_uses_all_codebooks_and_is_what_its_provenance_says() -> None:
    from musicgen_core.config.codec_spec import shipped_codec_folder

    provenance = json.loads((shipped_codec_folder() / "provenance.json").read_text())
    reconstruction = provenance["reconstruction"]
    assert all(codebook["perplexity"] > 100 for codebook in reconstruction["codebooks"])
    assert reconstruction["si_snr_db"] > 5.0
