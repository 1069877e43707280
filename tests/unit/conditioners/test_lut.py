import pytest
import torch

from musicgen_core.conditioners.lut import LutConditioner, hash_word, split_words
from musicgen_core.config.model import LutConditionerConfig


def build(max_words: int = 4) -> LutConditioner:
    torch.manual_seed(0)
    return LutConditioner(LutConditionerConfig(num_bins=128, dim=8, max_words=max_words), output_dim=6)


@pytest.mark.parametrize(
    ("word", "num_bins", "row"),
    [("rock", 128, 20), ("Jeff Buckley", 1000, 429), ("Queen", 1000, 228), ("ABBA", 1000, 538)],
)
def test_hash_is_audiocrafts(word: str, num_bins: int, row: int) -> None:
    assert hash_word(word, num_bins) == row


def test_words() -> None:
    assert split_words('A "Lo-Fi" beat,  in C# minor; (120 bpm)!\n…') == [
        *("a", "lo-fi", "beat", "in", "c#", "minor", "120", "bpm", "…")
    ]
    assert split_words("Café\u00a0Noir") == ["café", "noir"]
    assert split_words(None) == split_words(" ., ") == split_words("") == []


def test_rows_are_padded_and_absent_captions_are_exact_zeros() -> None:
    conditioner = build()
    prepared = conditioner.prepare(["rock", None, "slow rock ballad", "?!"])
    assert prepared.ids_BL.shape == (4, 3)
    assert prepared.ids_BL[0, 0].item() == prepared.ids_BL[2, 1].item() == 20
    assert prepared.mask_BL.tolist() == [[1, 0, 0], [0, 0, 0], [1, 1, 1], [0, 0, 0]]
    condition = conditioner(prepared)
    assert condition.embeddings_BLD.shape == (4, 3, 6)
    assert condition.embeddings_BLD[~condition.mask_BL].eq(0).all()
    assert condition.embeddings_BLD[condition.mask_BL].ne(0).all()


def test_all_absent_has_length_one() -> None:
    assert build().prepare([None, None]).ids_BL.shape == (2, 1)


def test_long_captions_are_cut_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    conditioner = build(max_words=2)
    assert conditioner.prepare(["a b c"]).ids_BL.shape == (1, 2)
    assert "captions cut so far: 1; this one has 3 words, the conditioner takes 2" in capsys.readouterr().err
    conditioner.prepare(["a b c d", "a b"])
    assert conditioner.num_cut == 2
    assert capsys.readouterr().err == ""
