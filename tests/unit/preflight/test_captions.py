"""Captions are shown as the encoder reads them; shuffled and shifted ones are named."""

from dataclasses import replace

import numpy as np
import pytest
from small_preflight import SmallProject
from small_t5 import write_t5

from musicgen_core.config.model import T5ConditionerConfig
from musicgen_core.lm.model import LanguageModel, build_model
from musicgen_core.preflight.agreement import check_agreement, hat_matrix, score_words, word_table
from musicgen_core.preflight.material import Material, open_material
from musicgen_core.preflight.words import check_captions


def reopen(project: SmallProject) -> Material:
    return open_material(project.root, None, "cpu")


def model_of(material: Material) -> LanguageModel:
    return build_model(material.run.model, material.run.conditioner, material.spec, "meta")


def test_true_captions_belong_to_their_music(sound: Material) -> None:
    finding = check_agreement(sound)
    assert finding.level == "ok"
    assert finding.figures["score"] > 0.8


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_shuffled_captions_are_named(project: SmallProject, seed: int) -> None:
    captions = {
        line["track"]: line["caption"] for split in ("train", "valid", "evaluate") for line in project.read(split)
    }
    other = dict(zip(captions, np.random.default_rng(seed).permutation(list(captions.values())).tolist(), strict=True))
    project.change_manifest(lambda line: {**line, "caption": other[line["track"]]})
    finding = check_agreement(reopen(project))
    assert finding.figures["p_value"] > 0.01
    assert finding.level == ("problem" if finding.figures["p_value"] > 0.05 else "warning")
    assert finding.text.startswith("shuffled captions?")


@pytest.mark.parametrize("shift", [1, -2])
def test_captions_that_slipped_by_some_rows_are_named(project: SmallProject, shift: int) -> None:
    lines = [line for split in ("train", "valid", "evaluate") for line in project.read(split)]
    lines.sort(key=lambda line: line["path"])
    slipped = {line["track"]: lines[(i - shift) % len(lines)]["caption"] for i, line in enumerate(lines)}
    project.change_manifest(lambda line: {**line, "caption": slipped[line["track"]]})
    finding = check_agreement(reopen(project))
    assert (finding.level, finding.figures["shift"]) == ("problem", shift)
    side = "before" if shift > 0 else "after"
    assert finding.text.startswith(
        f"shifted captions: each track seems to have the words of the one {abs(shift)} place"
    )
    assert side in finding.text


def test_a_corpus_too_small_to_tell_is_a_warning(sound: Material) -> None:
    finding = check_agreement(replace(sound, train=sound.train[:12], held_out=[]))
    assert (finding.level, finding.text.startswith("too few to tell")) == ("warning", True)


def test_predictions_leave_the_track_itself_out() -> None:
    """Against a ridge regression fitted anew without each track."""
    random = np.random.default_rng(0)
    features_GF, words_GW = random.normal(size=(12, 5)), (random.random((12, 2)) < 0.5).astype(float)
    hat_GG = hat_matrix(features_GF)
    own_G1 = np.diag(hat_GG)[:, None]
    closed_GW = (hat_GG @ words_GW - own_G1 * words_GW) / (1 - own_G1)
    centred_GF = features_GF - features_GF.mean(axis=0)
    ridge = 0.1 * np.trace(centred_GF @ centred_GF.T) / 12
    for g in range(12):
        kept = np.arange(12) != g
        a = np.hstack([np.ones((11, 1)), centred_GF[kept]])
        weights = np.linalg.solve(a.T @ a + ridge * np.diag([0.0] + [1.0] * 5), a.T @ words_GW[kept])
        np.testing.assert_allclose(closed_GW[g], np.hstack([[1.0], centred_GF[g]]) @ weights, atol=1e-9)
    assert -1 <= score_words(hat_GG, words_GW) <= 1


def test_words_that_all_or_few_have_say_nothing() -> None:
    captions = ["a red house"] * 5 + ["a blue house"] * 5 + ["a green house"] * 2
    assert word_table(captions).shape == (12, 2)
    assert word_table(["same"] * 8).shape == (8, 0)


def test_captions_are_read_as_words(sound: Material) -> None:
    finding, rows = check_captions(sound, model_of(sound))
    assert (finding.level, finding.figures["empty"], finding.figures["cut"]) == ("ok", 0, 0)
    hiss = next(row for row in rows if row.caption and "wind" in row.caption)
    assert hiss.seen.startswith("a | soft | wind | of | noise | take | ")


def test_tokens_of_t5_are_shown(sound: Material, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = write_t5(tmp_path_factory.mktemp("t5") / "t5")
    run = replace(sound.run, conditioner=T5ConditionerConfig(kind="t5", path=str(folder), max_tokens=5))
    material = replace(sound, run=run)
    finding, rows = check_captions(material, model_of(material))
    assert finding.level == "warning"
    assert finding.figures["cut"] == 30
    assert "100% of the captions are cut" in finding.text
    assert all(row.seen.count("|") == 4 for row in rows)


@pytest.mark.parametrize(
    ("caption", "level", "message"),
    [
        ("the same for all", "warning", "30 tracks share one caption"),
        ("word " * 40, "warning", "100% of the captions are cut"),
        (None, "problem", "30 empty"),
        (" ?! ", "problem", "30 empty"),
    ],
)
def test_bad_captions_are_named(sound: Material, caption: str | None, level: str, message: str) -> None:
    material = replace(sound, train=[replace(record, caption=caption) for record in sound.train])
    finding, _ = check_captions(material, model_of(sound))
    assert finding.level == level
    assert message in finding.text


def test_unknown_words_are_named(sound: Material) -> None:
    held_out = [replace(record, caption="completely different vocabulary") for record in sound.held_out]
    finding, _ = check_captions(replace(sound, held_out=held_out), model_of(sound))
    assert "100% of the words are unknown" in finding.text
    prompts = replace(sound.run.generation, prompts=("a dubstep drone",))
    finding, _ = check_captions(replace(sound, run=replace(sound.run, generation=prompts)), model_of(sound))
    assert "generation.prompts use words that no caption has (dubstep)" in finding.text
