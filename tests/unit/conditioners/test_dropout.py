import numpy as np
import pytest

from musicgen_core.conditioners.dropout import drop_captions

CAPTIONS = [f"caption {i}" for i in range(2000)]
INDEXES = np.arange(2000)


def test_share_and_meaning() -> None:
    kept = drop_captions(CAPTIONS, 0.3, seed=1, epoch=0, indexes=INDEXES)
    assert sum(caption is None for caption in kept) / len(kept) == pytest.approx(0.3, abs=0.03)
    assert all(caption in (None, original) for caption, original in zip(kept, CAPTIONS, strict=True))
    assert drop_captions(CAPTIONS, 0.0, 1, 0, INDEXES) == CAPTIONS
    assert drop_captions(CAPTIONS, 1.0, 1, 0, INDEXES) == [None] * 2000


def test_a_sample_does_not_depend_on_its_batch() -> None:
    whole = drop_captions(CAPTIONS, 0.5, 1, 3, INDEXES)
    order = np.random.default_rng(0).permutation(2000)
    shuffled = drop_captions([CAPTIONS[i] for i in order], 0.5, 1, 3, order)
    assert [whole[i] for i in order] == shuffled
    assert drop_captions(CAPTIONS[7:9], 0.5, 1, 3, [7, 8]) == whole[7:9]


def test_epochs_and_seeds_differ() -> None:
    draws = [drop_captions(CAPTIONS, 0.5, seed, epoch, INDEXES) for seed, epoch in ((1, 0), (1, 1), (2, 0))]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        agree = np.mean([x == y for x, y in zip(draws[a], draws[b], strict=True)])
        assert agree == pytest.approx(0.5, abs=0.05)


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"is 1\.5; it must lie in \[0, 1\]"):
        drop_captions(["a"], 1.5, 0, 0, [0])
    with pytest.raises(ValueError, match="1 captions but 2 sample indexes"):
        drop_captions(["a"], 0.5, 0, 0, [0, 1])
