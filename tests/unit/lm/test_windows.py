"""Samples longer than the model knows: exact lengths, nothing overwritten, each window what `generate` makes of it."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import PATTERNS, make_model

from musicgen_core.config.evaluation import GenerationConfig
from musicgen_core.config.pattern import PatternConfig
from musicgen_core.lm.generate import generate
from musicgen_core.lm.model import LanguageModel
from musicgen_core.lm.windows import Window, generate_long, plan_windows

CAPTIONS = ["slow rock", None]
CONFIG = GenerationConfig(seed=5, top_k=10)


@pytest.mark.parametrize(
    ("seconds", "rate_hz", "lengths"),
    [
        (30, 50, [1500]),
        (60, 25, [750, 750, 600]),  # AudioCraft's, run: musicgen-training reference, 60 s at 25 Hz
        (120, 25, [750] * 6),
        (31, 50, [1500, 650]),
    ],
)
def test_windows_are_audiocrafts(seconds: int, rate_hz: int, lengths: list[int]) -> None:
    windows = plan_windows(seconds * rate_hz, 30 * rate_hz, 18 * rate_hz)
    assert [window.end - window.first for window in windows] == lengths
    assert [window.first for window in windows] == [18 * rate_hz * number for number in range(len(windows))]
    assert [window.num_known for window in windows[1:]] == [12 * rate_hz] * (len(windows) - 1)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_windows_cover_every_frame_once(data: st.DataObject) -> None:
    window = data.draw(st.integers(2, 40))
    stride = data.draw(st.integers(1, window - 1))
    num_frames = data.draw(st.integers(1, 200))
    given_frames = data.draw(st.integers(0, num_frames - 1))
    filled = given_frames
    for item in plan_windows(num_frames, window, stride, given_frames):
        assert item.first + item.num_known == filled  # goes on exactly where it ended
        assert item.num_known <= filled
        assert filled < item.end <= item.first + window
        filled = item.end
    assert filled == num_frames


@pytest.mark.parametrize(("window", "stride", "known"), [(10, 10, 0), (10, 0, 0), (10, 6, 30), (10, 6, -1)])
def test_what_cannot_be_planned_is_said(window: int, stride: int, known: int) -> None:
    with pytest.raises(ValueError, match=r"a stride of .* frames does not fit|frames are given and 30 asked for"):
        plan_windows(30, window, stride, known)


def test_one_window_is_the_plain_sample(model: LanguageModel) -> None:
    expected = generate(model, CAPTIONS, 12, CONFIG)
    assert torch.equal(generate_long(model, CAPTIONS, 12, CONFIG, window_frames=12, stride_frames=7), expected)


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.kind)
def test_each_window_continues_the_one_before(pattern: PatternConfig) -> None:
    model, seen = make_model(pattern=pattern), []
    codes = generate_long(
        model, CAPTIONS, 21, CONFIG, window_frames=10, stride_frames=6, on_step=lambda *at: seen.append(at)
    )
    assert codes.shape == (2, 4, 21)
    expected = generate(model, CAPTIONS, 10, CONFIG)
    for number, (first, end) in enumerate([(6, 16), (12, 21)], 1):
        new = generate(model, CAPTIONS, end - first, CONFIG, prompt_BKT=expected[:, :, first:], window=number)
        expected = torch.cat([expected, new[:, :, expected.shape[2] - first :]], dim=2)
    assert torch.equal(codes, expected)
    total = sum(model.pattern(frames).num_steps - 1 for frames in (10, 10, 9))
    assert seen == [(step, total) for step in range(1, total + 1)]


@pytest.mark.parametrize("num_known", [1, 9, 10, 15])
def test_what_is_given_stays(model: LanguageModel, num_known: int) -> None:
    prompt = torch.randint(0, model.card, (2, 4, num_known), generator=torch.Generator().manual_seed(1))
    lengths = {"window_frames": 10, "stride_frames": 6}
    codes = generate_long(model, CAPTIONS, 23, CONFIG, prompt_BKT=prompt, **lengths)
    assert codes.shape == (2, 4, 23)
    assert torch.equal(codes[:, :, :num_known], prompt)
    assert codes.ge(0).all()
    assert codes.lt(model.card).all()
    alone = generate_long(model, CAPTIONS[1:], 23, CONFIG, prompt_BKT=prompt[1:], first_sample=1, **lengths)
    assert torch.equal(alone[0], codes[1])


def test_windows_do_not_repeat_their_draws(model: LanguageModel) -> None:
    """The same prompt and words, another window: other music. And no randomness at all when greedy."""
    a, b = (generate(model, CAPTIONS, 12, CONFIG, window=number) for number in (0, 1))
    assert not torch.equal(a, b)
    greedy = replace(CONFIG, temperature=0.0)
    assert torch.equal(*(generate(model, CAPTIONS, 12, greedy, window=number) for number in (0, 1)))


def test_a_prompt_of_the_wrong_shape_is_refused(model: LanguageModel) -> None:
    with pytest.raises(ValueError, match=r"the prompt is \[2, 3, 4\]; 2 captions, 4 codebooks and 20 frames need"):
        generate_long(
            model, CAPTIONS, 20, CONFIG, window_frames=10, stride_frames=6, prompt_BKT=torch.zeros(2, 3, 4).long()
        )
    assert plan_windows(5, 10, 6, 2) == [Window(0, 5, 2)]
