"""AudioCraft's own numbers: `python tests/golden/run_audiocraft.py CHECKOUT` writes audiocraft.json anew.

CHECKOUT is a clone of facebookresearch/audiocraft (numbers: commit 896ec7c). Of what it imports only torch, einops and
transformers are needed; the rest is replaced by empty modules, for none of it computes here. Its language model gets
our weights, whose values follow from a seed, and our conditions; so the test needs neither it nor its weights.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import torch
import transformers  # noqa: F401  (before packages are replaced, some of which it looks for)
from audiocraft_cases import (
    CASES,
    PROBABILITIES,
    SAMPLING,
    WIDE,
    Case,
    describe_weights,
    learning_rates,
    make_gradients,
    make_weights,
)

GOLDEN = Path(__file__).with_name("audiocraft.json")
UNUSED = "av demucs dora flashy hydra julius laion_clap librosa num2words omegaconf soundfile spacy torchaudio xformers"
PACKAGES = ("", ".models", ".modules", ".data", ".utils", ".optim")


class _Empty(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Packages that are imported and not needed, each as one whose every name is a mock."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name.partition(".")[0] not in UNUSED.split():
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: Any) -> Any:
        module = MagicMock(name=spec.name)
        module.__spec__, module.__path__, module.__name__ = spec, [], spec.name
        return module

    def exec_module(self, module: Any) -> None:
        pass


def open_checkout(checkout: Path) -> None:
    """Make `audiocraft.*` importable without what its packages' __init__ import."""
    for name in PACKAGES:
        package = types.ModuleType(f"audiocraft{name}")
        package.__path__ = [str(checkout / "audiocraft" / name.replace(".", ""))]
        sys.modules[f"audiocraft{name}"] = package
    sys.meta_path.insert(0, _Empty())
    ops = importlib.import_module("xformers").ops
    ops.unbind = torch.unbind  # the only one that is called when attention is torch's
    importlib.import_module("dora").is_xp = lambda: False


def run_case(case: Case) -> dict[str, Any]:
    """AudioCraft's logits, cross-entropies and greedy codes of our weights."""
    from audiocraft.modules.conditioners import ConditionFuser, ConditioningAttributes

    ours = case.build()

    class Provider(torch.nn.Module):
        """Our conditioners in the place of AudioCraft's: one row of values per sample."""

        def tokenize(self, rows: Sequence[Any]) -> Any:
            return [{**row.text, **row.symbolic} for row in rows]

        def forward(self, rows: Any) -> Any:
            values = [None if row["description"] is None else row["value"] for row in rows]
            prepared = ours.prepare(values)
            found = {name: ours.conditioners[name](item) for name, item in prepared.items()}
            return {name: (item.embeddings_BLD, item.mask_BL) for name, item in found.items()}

    fuser: dict[str, list[str]] = {"cross": [], "prepend": [], "sum": [], "input_interpolate": []}
    for name, fusion in ours.fusions.items():
        fuser[fusion].append(name)
    theirs = make_model(case, Provider(), ConditionFuser(fuser))
    state = {name: tensor for name, tensor in ours.state_dict().items() if not name.startswith("condition_provider")}
    theirs.load_state_dict(state)
    theirs.eval()
    rows = [
        ConditioningAttributes(text={"description": "" if row else None}, symbolic={"value": row}) for row in case.rows
    ]
    tensors = theirs.condition_provider(theirs.condition_provider.tokenize(rows))
    with torch.no_grad():
        out = theirs.compute_predictions(case.codes(), [], tensors)
        greedy = theirs.generate(None, rows, max_gen_len=case.num_frames, use_sampling=False)
    return case.describe(out.logits, out.mask, greedy)


def make_model(case: Case, provider: Any, fuser: Any, **options: Any) -> Any:
    """AudioCraft's LMModel of a case, as config/model/lm/musicgen_lm.yaml has it."""
    from audiocraft.models.lm import LMModel
    from audiocraft.modules import codebooks_patterns

    config = case.build().config
    dim, num_heads, num_layers = config.shape
    kind, arguments = case.audiocraft_pattern
    fixed = {"hidden_scale": 4, "norm": "layer_norm", "norm_first": True, "causal": True, "memory_efficient": True}
    fixed |= {"bias_proj": False, "bias_ff": False, "bias_attn": False, "activation": "gelu", "dropout": 0.0}
    return LMModel(
        getattr(codebooks_patterns, kind)(case.num_codebooks, **arguments),
        provider,
        fuser,
        n_q=case.num_codebooks,
        card=config.card,
        dim=dim,
        num_heads=num_heads,
        num_layers=num_layers,
        cross_attention=bool(fuser.fuse2cond["cross"]),
        positional_embedding="sin",
        cfg_coef=3.0,
        **fixed,
        **options,
    )


def run_initial() -> dict[str, list[float]]:
    """Standard deviation and greatest magnitude of each tensor of a fresh model, wide enough to tell."""
    from audiocraft.modules.conditioners import ConditionFuser

    torch.manual_seed(0)
    provider, fuser = torch.nn.Module(), ConditionFuser({"cross": ["description"]})
    how = {"weight_init": "gaussian", "depthwise_init": "current", "zero_bias_init": True}
    return describe_weights(make_model(WIDE, provider, fuser, **how).state_dict())


def run_sampling() -> dict[str, list[float]]:
    """What is left of a distribution before a code is drawn, in descending order."""
    from audiocraft.utils import utils

    left: list[float] = []

    def keep(p: torch.Tensor, num_samples: int) -> torch.Tensor:
        left[:] = p.flatten().sort(descending=True).values.tolist()
        return torch.zeros(1, 1, dtype=torch.int64)

    utils.multinomial = keep
    found = {}
    for name, (top_k, top_p) in SAMPLING.items():
        chances = PROBABILITIES.clone()[None]
        if top_p > 0:
            utils.sample_top_p(chances, top_p)
        else:
            utils.sample_top_k(chances, top_k)
        found[name] = list(left)
    return found


def run_dadam() -> list[list[float]]:
    from audiocraft.optim.dadam import DAdaptAdam

    weights = [torch.nn.Parameter(weight) for weight in make_weights()]
    optimizer = DAdaptAdam(weights, lr=1.0, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1, d0=1e-3)
    for gradients in make_gradients():
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.grad = gradient.clone()
        optimizer.step()
    return [weight.detach().flatten().tolist() for weight in weights]


def run_schedules() -> dict[str, list[float]]:
    from audiocraft.optim.cosine_lr_scheduler import CosineLRScheduler
    from audiocraft.optim.inverse_sqrt_lr_scheduler import InverseSquareRootLRScheduler
    from audiocraft.optim.polynomial_decay_lr_scheduler import PolynomialDecayLRScheduler

    def rates(make: Any) -> list[float]:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
        schedule = make(optimizer)
        found = []
        for _ in range(102):
            found.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        return learning_rates(lambda step: found[step])

    return {
        "cosine": rates(lambda o: CosineLRScheduler(o, total_steps=100, warmup_steps=20, lr_min_ratio=0.1)),
        "polynomial": rates(
            lambda o: PolynomialDecayLRScheduler(o, warmup_steps=20, total_steps=100, end_lr=0.2, power=2.0)
        ),
        "inverse_sqrt": rates(lambda o: InverseSquareRootLRScheduler(o, warmup_steps=20)),
    }


def run_ema() -> list[float]:
    from audiocraft.optim.ema import ModuleDictEMA

    model = torch.nn.Linear(1, 1, bias=False)
    ema = ModuleDictEMA(torch.nn.ModuleDict({"model": model}), decay=0.9)
    found = []
    for value in (1.0, 4.0, -2.0, 0.5):
        with torch.no_grad():
            model.weight.fill_(value)
        ema.step()
        found.append(float(ema.state["model"]["weight"]))
    return found


if __name__ == "__main__":
    open_checkout(Path(sys.argv[1]))
    numbers = {
        "sampling": run_sampling(),
        "initial": run_initial(),
        "cases": {name: run_case(case) for name, case in CASES.items()},
        "dadam": run_dadam(),
        "schedules": run_schedules(),
        "ema": run_ema(),
    }
    GOLDEN.write_text(json.dumps(numbers) + "\n")
