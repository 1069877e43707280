"""The loss before the first step, one batch by heart, the learning rate, the memory plan; and the command."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_preflight import SmallProject

from musicgen_core.cli import main
from musicgen_core.config.optimization import DAdaptAdamConfig
from musicgen_core.config.start import InitFromConfig
from musicgen_core.lm.initialize import initialize
from musicgen_core.lm.model import build_model
from musicgen_core.lm.weights import write_export
from musicgen_core.preflight.first_loss import check_first_loss, find_own_loss, judge_fresh, judge_start
from musicgen_core.preflight.material import Material
from musicgen_core.preflight.memory_plan import PlanRow, check_memory, plan_rows, to_table
from musicgen_core.preflight.overfit import Range, check_learning_rate, check_overfit, judge_range
from musicgen_core.preflight.trial import Trial, open_trial

CPU = torch.device("cpu")


def with_training(material: Material, **changes: object) -> Material:
    run = replace(material.run, training=replace(material.run.training, **changes))  # type: ignore[arg-type]
    return replace(material, run=run)


@pytest.fixture(scope="module")
def trial(sound: Material) -> Trial:
    return open_trial(sound, CPU)


def test_a_fresh_model_starts_above_ln_card(sound: Material, trial: Trial) -> None:
    finding = check_first_loss(sound, trial, CPU)
    assert finding.level == "ok"
    assert np.abs(np.array(finding.figures["loss_per_codebook"]) - np.log(256) - 0.5).max() < 1.0


def test_a_fresh_model_of_wrong_scale_is_named() -> None:
    loss_K, stray_K = np.array([5.9, 6.1, 5.8, 12.0]), np.full(4, 0.1)
    assert judge_fresh(loss_K, stray_K, 256).level == "problem"
    assert judge_fresh(loss_K[:3], stray_K[:3], 256).level == "ok"
    assert judge_fresh(np.array([np.nan]), stray_K[:1], 256).level == "problem"


def test_trained_weights_that_know_nothing_are_named() -> None:
    entropy_K = np.full(4, 4.0)
    assert judge_start(np.array([2.0, 3.0, 3.5, 4.0]), entropy_K, 256, "base").level == "ok"
    finding = judge_start(np.array([2.0, 6.3, 3.5, 5.6]), entropy_K, 256, "base")
    assert (finding.level, "trained weights know nothing of codebook(s) 1, 3" in finding.text) == ("problem", True)


def test_trained_weights_are_held_to_frequencies_and_to_their_own_validation() -> None:
    entropy_K, loss_K = np.array([3.0, 4.0]), np.array([3.1, 3.5])
    assert judge_start(loss_K, entropy_K, 256, "base", 3.0).level == "ok"
    near = judge_start(loss_K, entropy_K, 256, "base", 2.4)
    assert (near.level, "3.300 in the mean, 2.400 in their own validation" in near.text) == ("ok", True)
    far = judge_start(loss_K, entropy_K, 256, "base", 2.2)
    assert (far.level, "far above the loss that these weights had" in far.text) == ("warning", True)
    dull = judge_start(loss_K, np.array([3.0, 3.2]), 256, "base", 3.0)
    assert (dull.level, "of codebook(s) 1 trained weights tell less" in dull.text) == ("warning", True)
    assert judge_start(np.array([np.nan, 3.0]), entropy_K, 256, "base", 2.2).level == "problem"


def test_the_loss_of_the_own_validation_is_found(tmp_path: Path) -> None:
    assert find_own_loss(tmp_path) is None
    (tmp_path / "config.json").write_text(json.dumps({"format": "musicgen_core", "loss": 3.5}))
    assert find_own_loss(tmp_path) == 3.5
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "musicgen"}))
    assert find_own_loss(tmp_path) is None
    for step, loss in ((2, 5.0), (4, 4.0)):
        folder = tmp_path / "checkpoints" / f"best-{step:08d}"
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text(json.dumps({"manifest": {"loss": loss, "step": step}}))
    assert find_own_loss(tmp_path) == 4.0
    assert find_own_loss(folder) == 4.0
    assert find_own_loss(tmp_path / "state_dict.bin") is None


@pytest.mark.parametrize(("knows", "far"), [(True, False), (True, True), (False, False)])
def test_weights_from_elsewhere_must_know_something(
    sound: Material, trial: Trial, tmp_path: Path, knows: bool, far: bool
) -> None:
    """A model of code frequencies alone is below ln(card); one whose logits are all equal is at it."""
    run, spec = sound.run, sound.spec
    model = build_model(run.model, run.conditioner, spec)
    initialize(model, 0)
    counts_KC = np.stack(
        [np.bincount(codes_BT[codes_BT < 256], minlength=256) for codes_BT in trial.batch.codes_BKT.unbind(1)]
    )
    with torch.no_grad():
        model.out_norm.weight.zero_()
        model.out_norm.bias.fill_(1.0)
        for linear, counts_C in zip(model.linears, counts_KC, strict=True):
            logits_C = torch.from_numpy(np.log(counts_C + 0.5)).float() * knows
            linear.weight.copy_(logits_C[:, None].expand(-1, 64) / 64)
    (tmp_path / "export").mkdir()
    own_loss = 0.5 if far else 4.5
    write_export(tmp_path / "export", model, run.conditioner, spec, {"loss": own_loss})
    material = with_training(sound, init_from=InitFromConfig(path=str(tmp_path / "export")))
    finding = check_first_loss(material, trial, CPU)
    assert finding.figures["own_loss"] == own_loss
    assert finding.level == (("warning" if far else "ok") if knows else "problem")
    if not knows:
        assert "trained weights know nothing of codebook(s) 0, 1, 2, 3" in finding.text
        assert finding.figures["loss_per_codebook"] == pytest.approx([np.log(256)] * 4, abs=1e-4)


def test_a_run_that_is_not_trained_yet_cannot_be_measured(sound: Material, trial: Trial) -> None:
    planned = replace(sound.planned, starts="other-00000000")
    material = replace(with_training(sound, init_from=InitFromConfig(run="other")), planned=planned)
    finding = check_first_loss(material, trial, CPU)
    assert (finding.level, "not trained yet" in finding.text) == ("warning", True)


def test_one_batch_is_learnt_by_heart(trial: Trial) -> None:
    finding = check_overfit(trial)
    assert finding.level == "ok"
    assert finding.figures["losses"][-1] < 0.8 * finding.figures["entropy"]
    again = check_overfit(trial)
    assert again.figures["losses"] == finding.figures["losses"]


def test_a_sane_learning_rate_passes(trial: Trial) -> None:
    assert check_learning_rate(trial).level == "ok"


def test_a_learning_rate_100_times_too_high_is_named(sound: Material) -> None:
    trial = open_trial(with_training(sound, learning_rate=0.3), CPU)
    finding = check_learning_rate(trial)
    assert finding.level == "problem"
    assert finding.text.startswith("learning rate too high: at 0.3 ")
    assert "training.learning_rate near 0.0" in finding.remedy


def test_a_learning_rate_that_learns_nothing_is_named(sound: Material) -> None:
    trial = open_trial(with_training(sound, learning_rate=1e-6), CPU)
    assert check_overfit(trial).level == "problem"
    finding = check_learning_rate(open_trial(with_training(sound, learning_rate=1e-5), CPU))
    assert (finding.level, finding.text.startswith("learning rate low: at 1e-05 ")) == ("warning", True)


def test_dadapt_adam_finds_its_own_rate(sound: Material) -> None:
    trial = open_trial(with_training(sound, optimizer=DAdaptAdamConfig(kind="dadapt_adam"), learning_rate=1.0), CPU)
    assert check_learning_rate(trial).level == "ok"
    trial = open_trial(with_training(sound, optimizer=DAdaptAdamConfig(kind="dadapt_adam")), CPU)
    assert "meant to be about 1" in check_learning_rate(trial).text


def test_a_rate_that_diverges_is_named() -> None:
    def one(rate: float, highest: float, after: float) -> Range:
        return Range(learning_rate=rate, before=6.0, highest=highest, after=after)

    low, high = {0.01: one(1e-3, 6.0, 2.0), 0.1: one(1e-2, 6.0, 3.0)}, {10.0: one(1.0, 90.0, 9.0)}
    for own, level, message in (
        (one(0.1, float("inf"), float("inf")), "problem", "the loss climbs to inf"),
        (one(0.1, 9.0, 3.5), "problem", "the loss climbs to 9.00"),
        (one(0.1, 6.0, 3.9), "problem", "the loss ends at 3.90"),
        (one(0.1, 6.0, 2.9), "warning", "the loss ends at 2.90"),
        (one(0.1, 6.2, 1.5), "ok", "0.1 is sane"),
    ):
        finding = judge_range({**low, 1.0: own, **high}, 4.0)
        assert (finding.level, message in finding.text) == (level, True), finding.text
        assert level == "ok" or finding.remedy == "set training.learning_rate near 0.001"


def test_a_model_too_slow_for_this_machine_is_replaced(sound: Material) -> None:
    run = replace(sound.run, model=replace(sound.run.model, size="large", dim=None, num_heads=None, num_layers=None))
    trial = open_trial(replace(sound, run=run), CPU)
    assert trial.stand_in
    assert trial.model.shape == (128, 4, 4)


def test_the_memory_plan_fits_what_is_measured(sound: Material, trial: Trial) -> None:
    rows = plan_rows(sound, 7)
    finding = check_memory(sound, trial, rows, 7)
    saved = finding.figures["saved_bytes"]
    assert finding.level == "ok"
    assert saved["formula"] == pytest.approx(saved["measured"], rel=0.05)
    assert len(to_table(rows)) == 1 + len(rows)
    assert "4 (0.0 GiB)" in to_table(rows)[1]


def test_larger_gpus_fit_larger_micro_batches(sound: Material) -> None:
    material = with_training(sound, segment_sec=30.0, precision="bf16", batch_size=16)
    large = replace(material.run.model, size="medium", dim=None, num_heads=None, num_layers=None)
    rows = plan_rows(replace(material, run=replace(material.run, model=large)), 20)
    alone = [row.settings[0] for row in rows]
    assert alone[0] is None
    plain = [one.micro_batch_size for one in alone if one is not None and not one.activation_checkpointing]
    assert plain == sorted(plain)
    assert plain[-1] >= 4
    assert isinstance(rows[0], PlanRow)
    assert rows[0].settings[3] is not None, "8 GPUs of 12 GB share the state"


def test_the_command_writes_a_page_and_says_ok(
    project: SmallProject, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("musicgen_core.preflight.overfit.RANGE_STEPS", 12)
    monkeypatch.chdir(project.home)  # else it would be laid over the config.yaml here
    config = project.home / "config.yaml"
    root = project.root
    config.write_text(
        json.dumps(
            {
                **project.config,
                "corpora": {"mine": {**project.config["corpora"]["mine"], "path": root.corpora["mine"].path}},
                "results": root.results,
            }
        )
    )
    assert main(["preflight", "--config", str(config), "--threads", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert not [line for line in lines if line.startswith("problem")]
    folder = project.home / "results/preflight/base"
    assert lines[-1].startswith(f"{folder}/report.html: 0 problem(s), ")
    written = json.loads((folder / "preflight.json").read_text())
    assert [f"{one['level']:<8} {one['check']}" for one in written["findings"]] == [
        line.split(":")[0] for line in lines if re.match(r"(ok|warning|problem) +[a-z ]+:", line)
    ]
    assert sorted(path.name for path in (folder / "audio").iterdir())[:2] == ["00.decoded.flac", "00.original.flac"]
    page = (folder / "report.html").read_text()
    assert "a soft wind of noise" in page
    assert "http" not in re.sub(r"http-equiv", "", page)
    project.change_codes(lambda path, codes_KT: codes_KT[::-1])
    assert main(["preflight", "--config", str(config), "--threads", "1"]) == 1
    assert "problem  codebooks: swapped codebooks: " in capsys.readouterr().out


def test_a_caption_is_text_in_the_page(sound: Material, tmp_path: Path) -> None:
    from musicgen_core.preflight.finding import Finding
    from musicgen_core.preflight.page import render_page
    from musicgen_core.preflight.words import SeenRow

    row = SeenRow(track="0" * 32, path="<b>.wav", caption="<script>alert(1)</script>", varied=None, seen="")
    found = [Finding(check="captions", level="warning", text="<i>", remedy="&")]
    page = render_page("base", "base-1", found, [], [row], [], 16_000)
    assert "<script>alert" not in page
    assert "&lt;b&gt;.wav" in page
