"""Weights to start from, in every form in which they may lie about."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_t5 import write_t5
from token_corpus import SPEC, tiny_config

from musicgen_core.config.codec_channels import with_channels
from musicgen_core.config.codec_spec import read_codec_folder, shipped_codec_folder
from musicgen_core.config.model import LutConditionerConfig, T5ConditionerConfig
from musicgen_core.config.root import TrainStageConfig
from musicgen_core.config.source import digest_source
from musicgen_core.config.start import InitFromConfig
from musicgen_core.lm.initialize import initialize
from musicgen_core.lm.model import LanguageModel, build_model
from musicgen_core.lm.weights import CODEC_NAME, write_export
from musicgen_core.tools import convert
from musicgen_core.train.checkpoint import load_best_weights
from musicgen_core.train.initial import load_initial, read_initial, to_stereo
from musicgen_core.train.ranks import Refused, World

Train = Callable[..., list[dict[str, Any]]]
SHIPPED = shipped_codec_folder()
CODEC = read_codec_folder(SHIPPED)
ALONE = World(0, 1, torch.device("cpu"), None)


def make_config(conditioner: Any = None, codec: Any = CODEC, **init: Any) -> TrainStageConfig:
    base = tiny_config({"mask_condition_padding": False}, init_from=InitFromConfig(**init) if init else None)
    return replace(base, codec=codec, conditioner=conditioner or LutConditionerConfig())


def make_model(config: TrainStageConfig, seed: int) -> LanguageModel:
    model = build_model(config.model, config.conditioner, config.codec)
    initialize(model, seed)
    return model


def write_source(folder: Path, config: TrainStageConfig) -> LanguageModel:
    """An export of a model with other weights."""
    model = make_model(config, 7)
    folder.mkdir()
    write_export(folder, model, config.conditioner, config.codec, {"training": {"segment_sec": 5.0}})
    shutil.copytree(SHIPPED, folder / CODEC_NAME)
    return model


def assert_loaded(config: TrainStageConfig, expected: LanguageModel, run: Path | None = None) -> None:
    model = make_model(config, 1)
    load_initial(config, run, ALONE, model)
    for name, tensor in expected.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name


@pytest.mark.parametrize("layout", ["musicgen", "audiocraft", "audiocraft file", "transformers"])
def test_folders_of_every_layout(layout: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conditioner = (
        T5ConditionerConfig(kind="t5", path=str(write_t5(tmp_path / "t5"))) if layout == "transformers" else None
    )
    model = write_source(tmp_path / "ours", make_config(conditioner))
    path = tmp_path / "ours"
    if layout != "musicgen":
        path = tmp_path / "theirs"
        convert.run(source=tmp_path / "ours", out=path, layout=layout.split()[0])  # type: ignore[arg-type]
    if layout == "audiocraft file":
        path = path / "state_dict.bin"
    if "audiocraft" in layout:
        refused = make_config(conditioner, path=str(path))
        with pytest.raises(Refused, match=r"a pickle.* Set training\.init_from\.accept_pickle: true"):
            load_initial(refused, None, ALONE, make_model(refused, 1))
    config = make_config(conditioner, path=str(path), accept_pickle="audiocraft" in layout)
    capsys.readouterr()
    assert_loaded(config, model)
    said = capsys.readouterr().err
    num = sum(tensor.numel() for tensor in model.state_dict().values())
    assert f"train: starts from the weights of {path}: {len(model.state_dict())} tensors, {num:,} weights, none" in said


def test_a_run_its_best_checkpoint_and_a_step(undisturbed: Path, tmp_path: Path, train: Train) -> None:
    best, _ = load_best_weights(undisturbed)
    for name in ("", "checkpoints/best-00000020", "checkpoints/step-00000020"):
        init = InitFromConfig(path=str(undisturbed / name))
        config = tiny_config(init_from=init)
        model = make_model(config, 1)
        state, notes = read_initial(config, init, undisturbed / name, model)
        assert notes == []
        assert state.keys() == best.keys()
        assert all(torch.equal(state[key], tensor) for key, tensor in best.items())
    assert digest_source(InitFromConfig(path=str(undisturbed))) == digest_source(
        InitFromConfig(path=str(undisturbed / "checkpoints/best-00000020"))
    )


def test_a_run_starts_from_another_ones_best_weights(
    undisturbed: Path, tmp_path: Path, train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(undisturbed, tmp_path / "old-1")
    before = sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "old-1").rglob("*"))
    init = InitFromConfig(run="old")
    config = tiny_config(init_from=init, steps=6, checkpoint_every_steps=3)
    whole = train(tmp_path / "new-2", config, init_from="old-1", init_digest="d" * 32)
    assert "starts from the weights of old-1" in capsys.readouterr().err
    first = json.loads((undisturbed / "history.jsonl").read_text().splitlines()[0])["loss"]
    assert whole[0]["loss"] < first - 0.05
    written = json.loads((tmp_path / "new-2/config.json").read_text())
    assert written["init_from"] == {"source": "old-1", "revision": None, "digest": "d" * 32, "license": None}
    assert sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "old-1").rglob("*")) == before
    # once it has begun the source may go
    train(tmp_path / "cut-2", config, init_from="old-1", init_digest="d" * 32)
    shutil.rmtree(tmp_path / "old-1")
    (tmp_path / "cut-2/DONE").unlink()
    (tmp_path / "cut-2/checkpoints/step-00000006/manifest.json").write_text("{")
    assert train(tmp_path / "cut-2", config, init_from="old-1", init_digest="d" * 32) == whole
    with pytest.raises(ValueError, match=r"training\.init_from\.run is old: name its folder beside"):
        train(tmp_path / "lost-3", config)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dim": 64}, r"model\.dim is 64, there 32\. Set these keys to the source's values"),
        ({"num_layers": 3, "num_heads": 4}, r"model\.num_heads is 4, there 2; model\.num_layers is 3, there 2"),
    ],
)
def test_a_model_of_another_shape_is_refused(change: dict[str, Any], message: str, undisturbed: Path) -> None:
    config = tiny_config(change, init_from=InitFromConfig(path=str(undisturbed)))
    with pytest.raises(Refused, match=message):
        load_initial(config, None, ALONE, make_model(config, 1))


def test_other_words_are_refused_unless_skipped(undisturbed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = LutConditionerConfig(num_bins=16, dim=8, max_words=4)
    init = InitFromConfig(path=str(undisturbed))
    config = replace(tiny_config(init_from=init), conditioner=words)
    with pytest.raises(
        Refused, match=r"of another shape: condition_provider\.\S*embed\.weight is \[32, 8\], the model"
    ):
        load_initial(config, None, ALONE, make_model(config, 1))
    skipping = replace(init, skip=("condition_provider.*",))
    config = replace(config, training=replace(config.training, init_from=skipping))
    model, fresh = make_model(config, 1), make_model(config, 1).state_dict()
    load_initial(config, None, ALONE, model)
    assert "embed.weight, condition_provider" in capsys.readouterr().err
    best, _ = load_best_weights(undisturbed)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, fresh[name] if name.startswith("condition_provider.") else best[name]), name
    wrong = replace(init, skip=("condition.*",))
    with pytest.raises(Refused, match=r"init_from\.skip: `condition\.\*` matches no parameter"):
        read_initial(config, wrong, undisturbed, model)


def test_other_conditions_and_codecs_are_refused(undisturbed: Path) -> None:
    init = InitFromConfig(path=str(undisturbed))
    config = replace(tiny_config(init_from=init), codec=replace(SPEC, digest="1" * 32))
    with pytest.raises(Refused, match=r"trained on the codes of made_up \(digest 00000000\).*Use that codec"):
        load_initial(config, None, ALONE, make_model(config, 1))
    config = tiny_config(init_from=init)
    config = replace(config, conditioner=replace(config.conditioner, fusion="prepend"))
    with pytest.raises(Refused, match=r"conditioner\.fusion is prepend, there cross"):
        load_initial(config, None, ALONE, make_model(config, 1))


def test_another_mask_or_pattern_is_said(undisturbed: Path) -> None:
    init = InitFromConfig(path=str(undisturbed))
    config = tiny_config({"mask_condition_padding": False}, init_from=init)
    _, notes = read_initial(config, init, undisturbed, make_model(config, 1))
    assert notes == ["it was trained with model.mask_condition_padding: true; set it so to see words as it did"]


def test_what_is_no_model_is_named(tmp_path: Path) -> None:
    config = make_config(path=str(tmp_path / "nothing"))
    with pytest.raises(FileNotFoundError, match=r"training\.init_from\.path: no folder"):
        load_initial(config, None, ALONE, make_model(config, 1))
    with pytest.raises(FileNotFoundError, match=r"holds no weights; looked for checkpoints/best-\* \(a run\)"):
        digest_source(InitFromConfig(path=str(tmp_path)))


def test_non_commercial_weights_need_a_yes_and_their_licence_goes_along(tmp_path: Path, train: Train) -> None:
    source = tmp_path / "meta"
    base = tiny_config()
    model = make_model(base, 7)
    source.mkdir()
    extra = {"training": asdict(base.training), "weights_license": "CC-BY-NC-4.0"}
    write_export(source, model, base.conditioner, SPEC, extra)
    config = tiny_config(steps=2, init_from=InitFromConfig(path=str(source)))
    with pytest.raises(Refused, match=r"non-commercial.*Set training\.init_from\.accept_noncommercial: true"):
        train(tmp_path / "run-1", config)
    init = InitFromConfig(path=str(source), accept_noncommercial=True)
    train(tmp_path / "run-1", tiny_config(steps=2, init_from=init))
    train(tmp_path / "run-2", tiny_config(steps=2, init_from=InitFromConfig(run="run")), init_from="run-1")
    for name in ("run-1", "run-2"):
        assert json.loads((tmp_path / name / "config.json").read_text())["init_from"]["license"] == "CC-BY-NC-4.0"


def test_a_stereo_model_begins_as_two_mono_ones(tmp_path: Path) -> None:
    """Where left equals right each channel's logits are the mono model's."""
    mono = make_config()
    model = write_source(tmp_path / "mono", mono).eval()
    codec = with_channels(CODEC, 2, SHIPPED)
    config = make_config(codec=codec, path=str(tmp_path / "mono"), mono_to_stereo=True)
    stereo = make_model(config, 1).eval()
    load_initial(config, None, ALONE, stereo)
    generator = torch.Generator().manual_seed(0)
    codes_BKT = torch.randint(0, CODEC.card, (2, CODEC.num_codebooks, 12), generator=generator)
    with torch.no_grad():
        expected = model.compute_predictions(codes_BKT, None).logits_BKTC
        found = stereo.compute_predictions(codes_BKT.repeat_interleave(2, dim=1), None).logits_BKTC
    torch.testing.assert_close(found, expected.repeat_interleave(2, dim=1), equal_nan=True, atol=1e-5, rtol=1e-5)
    plain = replace(config, training=replace(config.training, init_from=InitFromConfig(path=str(tmp_path / "mono"))))
    with pytest.raises(Refused, match=rf"num_codebooks is {codec.num_codebooks}, there {CODEC.num_codebooks}"):
        load_initial(plain, None, ALONE, stereo)
    assert sorted(to_stereo({"linears.1.weight": torch.ones(1)}, True)) == ["linears.2.weight", "linears.3.weight"]


def test_a_stereo_model_may_begin_as_audiocrafts_do(tmp_path: Path) -> None:
    """Its docs/MUSICGEN.md: embedding and head k of eight are those of k // 2, and all else is as it was."""
    source = write_source(tmp_path / "mono", make_config()).state_dict()
    config = make_config(codec=with_channels(CODEC, 2, SHIPPED), path=str(tmp_path / "mono"), mono_to_stereo="copy")
    stereo = make_model(config, 1)
    load_initial(config, None, ALONE, stereo)
    for name, tensor in stereo.state_dict().items():
        part, number, *rest = name.split(".")
        twin = ".".join([part, str(int(number) // 2), *rest]) if part in ("emb", "linears") else name
        assert torch.equal(tensor, source[twin]), name
