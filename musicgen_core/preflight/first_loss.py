"""The loss before the first step, codebook by codebook.

A fresh model must know nothing: the cross-entropy of logits that are independent normal numbers of variance v is about
ln(card) + v / 2 nats (the mean of exp of such a number is exp(v / 2)), and MusicGen's heads start with v near 1, since
they read normalised states with weights of variance 1 / width. AudioCraft's initialisation starts at 8.1 to 8.2 for a
card of 2048, where ln(card) is 7.62. A pretrained model must know something: if its loss is near ln(card), its codes,
codebooks or pattern are not those it was trained with. It should know more than how often each code occurs, and its
loss should be near the one of its own validation, which its checkpoint or export says.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from musicgen_core.config.root import project_train
from musicgen_core.config.source import find_source
from musicgen_core.lm.initialize import initialize
from musicgen_core.lm.model import LanguageModel, build_model
from musicgen_core.lm.weights import load_state
from musicgen_core.preflight.finding import Finding
from musicgen_core.preflight.material import Material
from musicgen_core.preflight.trial import CPU_PARAMETERS, Trial, measure_loss
from musicgen_core.train.checkpoint import load_best_weights
from musicgen_core.train.initial import load_initial
from musicgen_core.train.ranks import World

ABOVE = 0.5
"""Of a fresh model's loss above ln(card), nats."""

LESS_THAN_FREQUENCIES = 0.25
"""By which trained weights may miss the entropy of the batch's own codes, nats; besides card / codes, for the entropy
of few codes is low: a table of frequencies from elsewhere would miss it by about that."""

FAR_FROM_OWN = 1.0
"""By which a first loss may be above the loss that the weights had in their own validation: other music, nats."""

SLACK, DEVIATIONS = 0.4, 3.0
"""Few codes that occur often meet few logits: the loss then strays by the root of the sum of their squared shares."""


def check_first_loss(material: Material, trial: Trial, device: torch.device) -> Finding:
    """Of the run's own model: fresh, or with the weights that it starts from."""
    model, note = _build(material, trial, device)
    t, planned = material.run.training, material.planned
    parent = planned.continues or planned.extends or planned.starts
    if parent is None and t.init_from is None:
        loss_K, stray_K = measure_loss(material, model, device)
        return judge_fresh(loss_K, stray_K, material.spec.card, note)
    if note:
        return Finding(
            check="first loss",
            level="warning",
            text="not measured: the model is too large for this machine's memory without a GPU",
            remedy="run preflight where the training will run",
        )
    try:
        source, own_loss = _load_start(material, model, device)
    except FileNotFoundError as error:
        return Finding(
            check="first loss",
            level="warning",
            text=f"the run that this one starts from is not trained yet ({error})",
            remedy="train it first, then run preflight again",
        )
    loss_K, _ = measure_loss(material, model, device)
    card = material.spec.card
    slack = LESS_THAN_FREQUENCIES + card / max(1, int(trial.batch.mask_BT.sum()))
    found = judge_start(loss_K, trial.entropy_K, card, source, own_loss, slack)
    random = t.init_from is not None and t.init_from.skip and not planned.continues and not planned.extends
    return replace(found, level="warning") if random and found.level == "problem" else found


def _load_start(material: Material, model: LanguageModel, device: torch.device) -> tuple[str, float | None]:
    """Fill the model with the weights that the run starts from -> (what they are, in words; their own validation loss,
    None where nothing says it)."""
    planned, run = material.planned, material.run
    parent = planned.continues or planned.extends
    if parent is not None:
        weights, best = load_best_weights(material.runs_dir / parent)
        load_state(model, weights, parent)
        return f"{parent}, step {best['step']}", best["loss"]
    folder = material.runs_dir / planned.starts if planned.starts else None
    if folder is not None and not (folder / "checkpoints").is_dir():
        raise FileNotFoundError(f"{folder}/checkpoints holds no best checkpoint")
    load_initial(project_train(run, material.spec), folder, World(0, 1, device, None), model)
    init = run.training.init_from
    assert init is not None
    return planned.starts or str(init.path), find_own_loss(folder if folder is not None else find_source(init))


def find_own_loss(source: Path) -> float | None:
    """The validation loss, mean over codebooks, of the best weights of a run, a checkpoint or an export of ours; None
    where it is not written."""
    best = sorted(source.glob("checkpoints/best-*/manifest.json"))
    path = best[-1] if best else source / "manifest.json"
    try:
        if path.is_file():
            return float(json.loads(path.read_text(encoding="utf-8"))["manifest"]["loss"])
        return float(json.loads((source / "config.json").read_text(encoding="utf-8"))["loss"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def judge_fresh(loss_K: np.ndarray, stray_K: np.ndarray, card: int, note: str = "") -> Finding:
    """Of a model with initial weights; `stray_K` is the root of the sum of squared shares of the codes."""
    uniform = float(np.log(card))
    away_K = np.abs(loss_K - uniform - ABOVE)
    text = f"loss by codebook {_list(loss_K)}, ln(card {card}) = {uniform:.3f}{note}"
    figures = {"loss_per_codebook": loss_K.tolist(), "ln_card": uniform}
    if np.all(away_K < SLACK + DEVIATIONS * stray_K):
        return Finding(check="first loss", level="ok", text=f"{text}: as a fresh model should", figures=figures)
    return Finding(
        check="first loss",
        level="problem",
        text=f"a fresh model should start near {uniform + ABOVE:.2f}: {text}",
        remedy="the model's weights or its last norm are not initialised as they should be: please report it",
        figures=figures,
    )


def judge_start(
    loss_K: np.ndarray,
    entropy_K: np.ndarray,
    card: int,
    source: str,
    own_loss: float | None = None,
    slack: float = LESS_THAN_FREQUENCIES,
) -> Finding:
    """Of a model with trained weights: clearly below ln(card), or it is a problem; by `slack` at most above what the
    frequencies of the codes tell (`entropy_K`, nats), and near `own_loss`, that of its own validation, or a warning."""
    uniform = float(np.log(card))
    text = f"loss by codebook {_list(loss_K)} with the weights of {source}; ln(card {card}) = {uniform:.3f}"
    if own_loss is not None:
        text += f"; {loss_K.mean():.3f} in the mean, {own_loss:.3f} in their own validation"
    figures = {
        "loss_per_codebook": loss_K.tolist(),
        "ln_card": uniform,
        "batch_entropy": entropy_K.tolist(),
        "own_loss": own_loss,
    }
    bad = [k for k, loss in enumerate(loss_K) if not loss < uniform - 0.1]
    if bad:
        return Finding(
            check="first loss",
            level="problem",
            text=f"swapped codebooks or other codes: trained weights know nothing of codebook(s) "
            f"{', '.join(map(str, bad))}: {text}",
            remedy="use the codec, the order of codebooks and the pattern that these weights were trained with",
            figures=figures,
        )
    dull = [k for k, loss in enumerate(loss_K) if loss > entropy_K[k] + slack]
    if dull:
        return Finding(
            check="first loss",
            level="warning",
            text=f"of codebook(s) {', '.join(map(str, dull))} trained weights tell less than how often each code "
            f"occurs (entropy by codebook {_list(entropy_K)}): {text}",
            remedy="check that codec, order of codebooks, loudness and kind of music are those of their training",
            figures=figures,
        )
    if own_loss is not None and loss_K.mean() > own_loss + FAR_FROM_OWN:
        return Finding(
            check="first loss",
            level="warning",
            text=f"far above the loss that these weights had in their own validation: {text}",
            remedy="music of another kind starts so; if it is the same music, its codec, loudness or captions differ",
            figures=figures,
        )
    return Finding(check="first loss", level="ok", text=text, figures=figures)


def _build(material: Material, trial: Trial, device: torch.device) -> tuple[LanguageModel, str]:
    """The run's own model, or the trial's where that is too large for this machine."""
    run, note = material.run, ""
    config = run.model
    probe = build_model(config, run.conditioner, material.spec, "meta")
    if device.type == "cpu" and sum(p.numel() for p in probe.parameters()) > CPU_PARAMETERS:
        config, note = trial.model, " (of a tiny model: the run's own is too large for this machine)"
    model = build_model(config, run.conditioner, material.spec, device)
    initialize(model, run.seed)
    return model, note


def _list(loss_K: np.ndarray) -> str:
    return " ".join(f"{loss:.3f}" for loss in loss_K)
