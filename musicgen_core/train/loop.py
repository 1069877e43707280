"""The training loop. It runs in every process of a run; read `train` from top to bottom."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from musicgen_core.config.training import TrainingConfig
from musicgen_core.data.batches import valid_batches
from musicgen_core.train import fit
from musicgen_core.train.early import has_converged
from musicgen_core.train.job import TrainJob
from musicgen_core.train.lock import run_lock
from musicgen_core.train.optim import set_learning_rate
from musicgen_core.train.origin import versions
from musicgen_core.train.ranks import World, open_world
from musicgen_core.train.schedule import learning_rate
from musicgen_core.train.setup import Run, assemble
from musicgen_core.train.stall import limit_stalls
from musicgen_core.train.step import NonFiniteError, StepResult, train_step, validate
from musicgen_core.train.stop import Stopped, StopSignals
from musicgen_core.train.watch import Watch
from musicgen_core.util.done import write_done
from musicgen_core.util.log import say


def train(job: TrainJob, watch: Watch | None = None) -> None:
    """Train until the last step, resuming by itself; `run_dir/DONE` is written last.

    `watch` is connected when there are other processes. Raises Refused or ValueError when the run cannot start,
    NonFiniteError, TooLargeError and NoMemoryError (fit.py), and Stopped after a signal, with all saved.
    """
    config = job.config
    with (
        StopSignals() as signals,
        open_world(config.training.device, job.num_threads, watch) as world,
        _watched(job, world),
        fit.name_shortage(world.watch),
        run_lock(job.run_dir, world),
        assemble(job, world) as run,
    ):
        t = run.training
        pattern = run.model.pattern(run.segment_frames)
        ended = _has_ended(run, t)
        if ended and run.best is None:
            _restore_best(run)
        while not ended:
            run.checkpoints.writer.check()
            world.watch.mark("data", run.step)
            signals.save = run.is_save_due()
            batch = run.pace.next(run.batches)
            set_learning_rate(run.optimizer, learning_rate(run.step, t))
            try:
                result = train_step(
                    run.objective,
                    run.optimizer,
                    batch,
                    step=run.step,
                    seed=config.seed,
                    pattern=pattern,
                    world=world,
                    config=t,
                    signals=signals,
                )
            except torch.OutOfMemoryError as error:
                raise run.fit.shrink(run.step, run.first_step, error) from None
            run.step += 1
            last = run.step == t.steps
            logged = last or run.step % t.log_every_steps == 0
            if run.step % t.ema_every_steps == 0:
                run.ema.update()
            if logged:
                _log(run, result, batch.digest)
            epoch = run.passes.add(run.step, result)
            if epoch is not None and run.history is not None:
                run.history.add(epoch)
            with run.pace.paused():
                if last or run.step % t.validate_every_steps == 0:
                    _validate(run)
                    ended = _has_ended(run, t)
                if ended or result.stop or result.save or _is_save_step(run.step, job):
                    world.watch.mark("checkpoint")
                    _save(run)
            if ended and not logged:
                _log(run, result, batch.digest)
            if result.stop and not ended:
                run.checkpoints.writer.finish()
                if world.first:
                    say(f"train: stopped by a signal, saved at step {run.step}; run the same command to resume")
                raise Stopped(run.step, result.requeue)
        run.checkpoints.writer.finish()
        if world.first:
            _finish(run, job)
        world.barrier()


def _has_ended(run: Run, config: TrainingConfig) -> bool:
    """Whether no step is left, or early stopping has had enough. A collective call."""
    early, history = config.early_stopping, run.history
    if run.step >= config.steps or early is None:
        return run.step >= config.steps
    return run.world.on_first(lambda: history is not None and has_converged(history.lines, early))


@contextmanager
def _watched(job: TrainJob, world: World) -> Iterator[None]:
    """From here on, what happens to one process ends all of them, and a process alone ends when it stalls."""

    def start_again(micro_batch_size: int) -> None:
        if world.first:
            fit.remember(job.run_dir, micro_batch_size, job.config.training.batch_size)
        fit.start_again()

    world.watch.start_again = start_again
    world.watch.prepare(f"taking the lock of {job.run_dir}")
    if world.size > 1:
        world.watch.connect(world.rank, job.upkeep.stall_limit_sec, world.on_first)
        yield
        return
    places = ", ".join(sorted({str(index.parent) for index in job.indexes}))
    waits = {
        "data": f"waiting for a batch from {places}",
        "validation": f"reading and measuring segments from {places}",
        "checkpoint": f"writing to {job.run_dir}",
    }
    with limit_stalls(world.watch, job.upkeep.stall_limit_sec, waits, on_cpu=world.device.type == "cpu"):
        yield


def _log(run: Run, result: StepResult, samples: str) -> None:
    """One line for the eye, one for the record. `samples` is the digest of the batch's segments."""
    t = run.training
    speed = run.pace.report(t.batch_size * run.segment_frames)
    flops_per_step = run.meter.take_flops() * run.world.size / max(speed.num_steps, 1)
    flops_per_sec = flops_per_step * speed.steps_per_sec
    peak = run.meter.peak_flops_per_sec
    mfu = flops_per_sec / (peak * run.world.size) if peak else None
    memory_mib = run.meter.take_memory_mib()
    if run.history is None:
        return
    left = run.pace.seconds_left(t.steps - run.step)
    say(
        f"train: step {run.step}/{t.steps}  loss {result.loss:.3f}  "
        f"by codebook {' '.join(f'{loss:.2f}' for loss in result.loss_K)}  lr {result.learning_rate:.2e}  "
        f"{speed.frames_per_sec:,.0f} frames/s  "
        + (f"{flops_per_sec / 1e9:,.1f} GFLOP/s  " if mfu is None else f"MFU {mfu:.1%}  ")
        + f"data wait {speed.data_wait_share:.1%}  {memory_mib:,.0f} MiB  {_clock(left)} left"
    )
    run.history.add(
        {
            "kind": "train",
            "step": run.step,
            "loss": result.loss,
            "loss_per_codebook": result.loss_K.tolist(),
            "lr": result.learning_rate,
            "grad_norm": result.grad_norm,
            "frames_per_sec": speed.frames_per_sec,
            "data_wait_share": speed.data_wait_share,
            "flops_per_sec": flops_per_sec,
            "mfu": mfu,
            "memory_mib": memory_mib,
            "checkpoint_stall_sec": run.checkpoints.writer.take_stall_sec(),
            "time_sec": run.pace.seconds,
            "samples": samples,
        }
    )


def _validate(run: Run) -> None:
    """Measure the averaged weights on the fixed segments; keep them if they are the best so far."""
    t = run.training
    if run.ema.count == 0:  # before the first regular update the average is still the initialisation
        run.ema.update()
    pattern = run.model.pattern(run.segment_frames)
    batches = valid_batches(
        run.valid_tracks,
        num_segments=t.num_valid_segments,
        batch_size=t.micro_batch_size or t.batch_size // run.world.size,
        segment_frames=run.segment_frames,
        min_segment_ratio=t.min_segment_ratio,
        rank=run.world.rank,
        world_size=run.world.size,
        pattern=pattern,
    )
    if run.recordings is not None:
        batches = map(run.recordings.add_to_validation, batches)
    with run.ema.swapped_in(run.objective):
        loss_K = validate(run.objective, batches, pattern, run.world, t)
    if bad := [str(k) for k, x in enumerate(loss_K) if not math.isfinite(x)]:
        kept = f"best-{run.best.step:08d}" if run.best else "no best set"
        raise NonFiniteError(
            f"step {run.step}: the validation loss is not finite (codebooks {', '.join(bad)}). Nothing was saved over: "
            f"{kept} and the last checkpoint stay. Lower training.learning_rate, or look at the tracks of the valid "
            "split; the same command resumes before this step"
        )
    loss = float(loss_K.mean())
    if run.history and not run.history.has("valid", run.step):
        say(f"train: step {run.step}: validation loss {loss:.4f}  by codebook {' '.join(f'{x:.3f}' for x in loss_K)}")
        run.history.add({"kind": "valid", "step": run.step, "loss": loss, "loss_per_codebook": loss_K.tolist()})
    if run.best is None or not loss > run.best.loss:  # a tie is as good and newer
        run.best = run.checkpoints.save_best(run.step, loss, run.ema)


def _restore_best(run: Run) -> None:
    """No step is left, and the best set is gone or torn: the average of the last step takes its place."""
    if run.world.first:
        say(
            f"train: no sound best set is left; the averaged weights of step {run.step} are validated and take its "
            "place. If an earlier step was better, it is lost"
        )
    _validate(run)


def _is_save_step(step: int, job: TrainJob) -> bool:
    every = (job.config.training.checkpoint_every_steps, job.upkeep.keep_every_steps)
    return any(step % steps == 0 for steps in every if steps is not None)


def _save(run: Run) -> None:
    if run.history:
        run.history.sync()
    extra = {"data": run.batches.state_dict(), "seconds": run.pace.seconds, "epoch": run.passes.state_dict()}
    run.saved_sec = run.pace.seconds
    run.checkpoints.save(run.step, run.model, run.optimizer, run.ema, extra)


def _finish(run: Run, job: TrainJob) -> None:
    assert run.history is not None
    assert run.best is not None
    last = run.history.last("train")  # None: history.jsonl was lost after the last step
    done: dict[str, Any] = {
        "steps": run.step,
        "best_step": run.best.step,
        "best_valid_loss": run.best.loss,
        "train_loss": last and last["loss"],
        "seconds": round(run.pace.seconds, 3),
        "stopped_early": run.step < job.config.training.steps,
        "checkpoint_stall_sec": round(run.checkpoints.writer.stall_sec, 3),
        "versions": versions(),
    }
    run.history.sync()
    write_done(job.run_dir, done)
    if done["stopped_early"]:
        early = job.config.training.early_stopping
        assert early is not None
        say(
            f"train: ends early, at step {run.step} of {job.config.training.steps}: the last {early.patience} "
            "validations were no better than the best before them"
        )
    say(
        f"train: done, {run.step} steps in {_clock(run.pace.seconds)}; "
        f"best validation loss {run.best.loss:.4f} at step {run.best.step}"
    )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
