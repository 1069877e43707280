"""From a config and files to everything the loop holds; what cannot be trained is refused here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch.distributed.tensor import DTensor

from musicgen_core.config.batching import check_batch
from musicgen_core.config.condition import reads_audio
from musicgen_core.config.places import without_places
from musicgen_core.config.plain import fill_in
from musicgen_core.config.root import TrainStageConfig
from musicgen_core.config.sampling import normalise_mix
from musicgen_core.config.source import check_source
from musicgen_core.config.training import TrainingConfig
from musicgen_core.config.upkeep import UpkeepConfig
from musicgen_core.data.batches import TokenBatches, TokenDataset, count_segment_frames
from musicgen_core.data.track_audio import TrackAudio
from musicgen_core.data.tracks import TrackTable, open_tracks
from musicgen_core.lm.initialize import initialize
from musicgen_core.lm.model import LanguageModel, build_model, resolve_model
from musicgen_core.patterns.layout import build_pattern
from musicgen_core.train.checkpoint import Best, Checkpoints, load_start
from musicgen_core.train.ema import Ema
from musicgen_core.train.extend import take_over
from musicgen_core.train.fit import Fit
from musicgen_core.train.freeze import freeze
from musicgen_core.train.initial import describe_initial, load_initial
from musicgen_core.train.meter import Meter
from musicgen_core.train.metrics import History
from musicgen_core.train.optim import build_optimizer, list_warnings
from musicgen_core.train.origin import digest_code, versions
from musicgen_core.train.pace import Pace
from musicgen_core.train.parallel import distribute, is_sharded
from musicgen_core.train.passes import Passes
from musicgen_core.train.ranks import Refused, World
from musicgen_core.train.recordings import Recordings
from musicgen_core.train.schedule import learning_rate
from musicgen_core.train.step import NonFiniteError, Objective
from musicgen_core.util.atomic import write_json
from musicgen_core.util.digest import digest_file
from musicgen_core.util.log import say


@dataclass(frozen=True)
class TrainJob:
    """All that a process needs to take part in a run. Can be pickled; paths are absolute."""

    config: TrainStageConfig
    manifests: tuple[Path, ...]
    """Corpus folders with train.jsonl and valid.jsonl."""

    indexes: tuple[Path, ...]
    """Token index of each corpus, in the same order."""

    run_dir: Path
    num_threads: int
    """CPU threads of each process."""

    continue_from: Path | None = None
    """Folder of the run whose newest checkpoint this one starts from, at step 0."""

    extend_from: Path | None = None
    """Folder of the run that this one makes longer."""

    init_from: Path | None = None
    """Folder of the run that training.init_from names."""

    init_digest: str = ""
    """Digest of the weights that training.init_from names."""

    stage_version: int = 1
    """Version of the train stage; kept in config.json."""

    audio: tuple[Path, ...] = ()
    """Prepared tars CORPUS/BUCKET.tar, for a model that is conditioned on recordings."""

    upkeep: UpkeepConfig = field(default_factory=UpkeepConfig)


@dataclass
class Run:
    """A run in one process, ready to train."""

    world: World

    training: TrainingConfig
    """The config's, with the micro-batch that fits."""

    fit: Fit
    segment_frames: int
    valid_tracks: TrackTable
    model: LanguageModel
    objective: Objective
    optimizer: torch.optim.Optimizer
    ema: Ema
    batches: TokenBatches
    recordings: Recordings | None
    """Of segments, when the model is conditioned on them."""

    checkpoints: Checkpoints
    history: History | None
    """On the first process only."""

    meter: Meter
    passes: Passes
    pace: Pace
    step: int
    """Finished steps."""

    first_step: int
    """... at this start."""

    best: Best | None
    save_every_sec: float | None
    saved_sec: float
    """When the newest checkpoint was made, on the clock of `pace`."""

    def is_save_due(self) -> bool:
        """Whether the first process's clock asks for a checkpoint."""
        due = self.save_every_sec is not None and self.pace.seconds - self.saved_sec >= self.save_every_sec
        return due and self.world.first


@contextmanager
def assemble(job: TrainJob, world: World) -> Iterator[Run]:
    """Check, build, and load the newest checkpoint. A collective call.

    Raises Refused or ValueError, each naming the figures and the remedy, when the run cannot start.
    """
    config, t = job.config, job.config.training
    segment_frames = count_segment_frames(t.segment_sec, config.codec)
    world.on_first(lambda: _check(job, world, segment_frames))
    fit = Fit(job.run_dir, t.batch_size // world.size, t.micro_batch_size)
    t = replace(t, micro_batch_size=world.on_first(lambda: fit.micro_batch_size))
    tracks = open_tracks(job.manifests, job.indexes, "train", config.codec)
    model = build_model(config.model, config.conditioner, config.codec)
    initialize(model, config.seed)
    world.on_first(lambda: freeze(model, t.freeze))  # a pattern without a match is said once
    freeze(model, t.freeze)
    objective = Objective(model)
    distribute(objective, model.transformer.layers, world, t)
    optimizer = build_optimizer(model, t)
    ema = Ema(model, t.ema_decay)
    checkpoints = Checkpoints(job.run_dir, world, t.keep_last, job.upkeep.keep_every_steps)
    if (parent := job.extend_from) is not None:
        world.on_first(lambda: take_over(parent, job.run_dir, t))
    loaded = checkpoints.load_newest(model, optimizer, ema)
    step = loaded["step"] if loaded else 0
    if loaded is None and job.continue_from is not None:
        start = load_start(job.continue_from, world, model, optimizer, ema)
        if world.first:
            say(
                f"train: continues: weights, optimizer state and average are those of {job.continue_from.name}, {start}"
            )
    elif loaded is None and t.init_from is not None:
        load_initial(config, job.init_from, world, model)
    dataset = TokenDataset(
        tracks,
        seed=config.seed,
        batch_size=t.batch_size,
        segment_frames=segment_frames,
        min_segment_ratio=t.min_segment_ratio,
        sampling=t.sampling,
        rank=world.rank,
        world_size=world.size,
        pattern=model.pattern(segment_frames),
        pin_memory=world.device.type == "cuda",
    )
    recordings = None
    if reads_audio(config.model.conditions):
        recordings = Recordings(TrackAudio(job.audio, config.codec, job.num_threads), model, config)
    with TokenBatches(dataset, then=recordings.add_to_training if recordings else None) as batches:
        if loaded:
            batches.load_state_dict(loaded["data"])
        history = History(job.run_dir, step, job.upkeep.sinks) if world.first else None
        run = Run(
            world=world,
            training=t,
            fit=fit,
            segment_frames=segment_frames,
            valid_tracks=open_tracks(job.manifests, job.indexes, "valid", config.codec),
            model=model,
            objective=objective,
            optimizer=optimizer,
            ema=ema,
            batches=batches,
            recordings=recordings,
            checkpoints=checkpoints,
            history=history,
            meter=Meter(objective, model, t, world.device),
            passes=Passes(tracks.total_sec, t.segment_sec, t.batch_size, loaded.get("epoch") if loaded else None),
            pace=Pace(loaded["seconds"] if loaded else 0.0),
            step=step,
            first_step=step,
            best=checkpoints.find_best(),
            save_every_sec=None if job.upkeep.checkpoint_every_min is None else 60 * job.upkeep.checkpoint_every_min,
            saved_sec=loaded["seconds"] if loaded else 0.0,
        )
        if world.first:
            _introduce(job, run, tracks)
        try:
            yield run
            checkpoints.writer.close()
        except NonFiniteError:  # on all processes at once: the sets that are on their way to disk arrive there
            checkpoints.writer.finish()
            raise
        finally:
            if world.size == 1:
                checkpoints.writer.close()
            if history:
                history.close()


def _check(job: TrainJob, world: World, segment_frames: int) -> None:
    """Refuse what cannot work; then write config.json, before any work is done."""
    t = job.config.training
    try:
        check_batch(t, world.size)
    except ValueError as error:
        raise Refused(str(error)) from None
    _check_pattern(job.config, segment_frames)
    if reads_audio(job.config.model.conditions) and not job.audio:
        raise Refused(
            f"model.conditions {', '.join(job.config.model.conditions)}: the model is conditioned on recordings, but "
            "no prepared audio was given; give the tars of its corpora (--audio results/audio/CORPUS/*.tar)"
        )
    for split in ("train", "valid"):
        tracks = open_tracks(job.manifests, job.indexes, split, job.config.codec)
        tracks.check()
        if tracks.longest_sec < t.segment_sec:
            say(
                f"train: warning: the longest track of the {split} split has {tracks.longest_sec:.1f} s, a segment "
                f"{t.segment_sec:.1f} s: every segment is padded; lower training.segment_sec"
            )
    for warning in list_warnings(t):
        say(f"train: warning: {warning}")
    _write_config(job)


def _check_pattern(config: TrainStageConfig, segment_frames: int) -> None:
    """Refuse segments too long for a sequence, or so short that a codebook's first code falls behind their end."""
    model = resolve_model(config.model, config.codec)
    pattern = build_pattern(model.pattern, config.codec.num_codebooks, segment_frames)
    untaught = [k for k, steps_T in enumerate(pattern.step_KT) if steps_T[0] >= pattern.num_valid_steps]
    if untaught:
        raise Refused(
            f"a segment of {segment_frames} frames (training.segment_sec {config.training.segment_sec:g}) is "
            f"too short for the pattern {model.pattern.kind}: codebooks {', '.join(map(str, untaught))} would "
            "never be predicted; raise training.segment_sec or lower model.pattern.delays"
        )


def _write_config(job: TrainJob) -> None:
    """Write config.json; refuse to resume checkpoints that another config or other data made."""
    path = job.run_dir / "config.json"
    names = [folder.name for folder in job.manifests]
    digests = {
        name: {
            "train.jsonl": digest_file(folder / "train.jsonl"),
            "valid.jsonl": digest_file(folder / "valid.jsonl"),
            "index": digest_file(index),
        }
        for name, folder, index in zip(names, job.manifests, job.indexes, strict=True)
    }
    origin: dict[str, Any] = {
        "continued_from": job.continue_from.name if job.continue_from else None,
        "extended_from": job.extend_from.name if job.extend_from else None,
        "stage_version": job.stage_version,
    }
    begun = path.exists() and any(job.run_dir.glob("checkpoints/step-*"))
    if not begun:
        parent = job.continue_from or job.extend_from
        init = job.config.training.init_from
        if init is not None and parent is None:
            check_source(init, job.init_digest)
        origin["init_from"] = describe_initial(init, job.init_from, job.init_digest, parent)
    code = digest_code()
    now = json.loads(json.dumps({**asdict(job.config), **origin, "digests": digests}))
    if begun:
        before = fill_in(TrainStageConfig, json.loads(path.read_text(encoding="utf-8")))
        now["init_from"] = before.get("init_from")
        if before.pop("versions") != versions() or before.pop("code", code) != code:
            say("train: note: other code or package versions than when this run began; numbers may differ slightly")
        found = _differences(without_places(before), without_places(now))
        if differences := [text for text in found if not text.startswith("training.init_from.")]:
            raise Refused(
                f"{job.run_dir} holds checkpoints of another run: {'; '.join(differences[:5])}; "
                "give the old values, or another run directory"
            )
    write_json(path, {**now, "versions": versions(), "code": code})


def _differences(before: Any, now: Any, name: str = "") -> Iterator[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted({*before, *now}):
            yield from _differences(before.get(key), now.get(key), f"{name}.{key}".lstrip("."))
    elif before != now:
        yield f"{name} was {before}, is {now}"


def _introduce(job: TrainJob, run: Run, tracks: TrackTable) -> None:
    """Say what is about to happen."""
    config, t, world = job.config, run.training, run.world
    total = sum(p.numel() for p in run.model.parameters())
    trained = sum(p.numel() for p in run.model.parameters() if p.requires_grad)
    sharded = is_sharded(world, t)
    local = sum((p.to_local() if isinstance(p, DTensor) else p).numel() for p in run.model.parameters())
    micro = t.micro_batch_size or t.batch_size // world.size
    rounds = t.batch_size // (micro * world.size)
    say(
        f"train: {config.model.size} model, {total / 1e6:.2f} M parameters"
        + (f", {local / 1e6:.2f} M of them on each process" if sharded else "")
        + (f", {trained / 1e6:.2f} M of them trained ({trained:,})" if t.freeze else "")
        + f"; {tracks.num_tracks} tracks, {tracks.total_sec / 3600:.2f} h; "
        + f"validation on {run.valid_tracks.num_tracks} tracks"
    )
    if t.sampling.mix is not None:
        shares = normalise_mix(t.sampling.mix, tracks.corpora)
        say(f"train: segments by corpus: {', '.join(f'{name} {share:.1%}' for name, share in shares.items())}")
    machine = f"the CPU, threads: {job.num_threads}"
    if world.device.type == "cuda":
        machine = torch.cuda.get_device_name(world.device)
    say(
        f"train: processes: {world.size} on {machine}; {t.precision}; batch of {t.batch_size} segments of "
        f"{t.segment_sec:g} s = {world.size} processes x {rounds} rounds x {micro}"
    )
    where = f"resumes at step {run.step}" if run.step else "starts at step 0"
    say(
        f"train: {where} of {t.steps}, learning rate {learning_rate(run.step, t):.3g}, "
        f"sample {run.batches.state_dict()['next_sample']}; curves go to {run.history.path if run.history else '?'}"
    )
