"""`musicgen verify`: every artefact against its digest, and what to run again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from musicgen_core.config.overlay import load_overlay
from musicgen_core.flow.artefacts import MANIFESTS
from musicgen_core.flow.resolve import Flow, resolve
from musicgen_core.util.digest import digest_file, digest_json, digest_lines
from musicgen_core.util.done import NAME, SEALED, read_done
from musicgen_core.util.log import progress, say
from musicgen_core.util.receipt import Seal, compare, read_receipt, receipt_path

FOLDERS = {"export": "config.json", "samples": "samples.json", "references": "references.json"}
"""Folders of a run that a stage seals -> the file in them that Snakemake knows."""


@dataclass(frozen=True)
class Fault:
    path: Path
    what: str
    remedy: str


def run(*, config: Path = Path("config.yaml")) -> int:
    """Read every result that the config refers to and compare it with the digest that its stage wrote down, checkpoints
    and the plan included. Prints one line per fault with its remedy; the exit status is 1 when there is one. Only the
    plan is written, which is brought up to date as at every start.
    """
    flow = resolve(load_overlay(config))
    sealed, faults = _collect(flow)
    faults += _check_plan(flow)
    for path, (owner, seal) in progress(sealed.items(), "verify", total=len(sealed)):
        if difference := compare(path, seal, thorough=True):
            faults.append(Fault(path, difference, _remake(owner) if owner else _explain(path)))
    for fault in faults:
        print(f"{fault.path}: {fault.what}; {fault.remedy}")
    size = sum(seal.num_bytes for _, seal in sealed.values()) / 1e9
    say(f"verify: {len(sealed)} files, {size:.3f} GB; {len(faults)} fault(s)")
    return 1 if faults else 0


def _collect(flow: Flow) -> tuple[dict[Path, tuple[Path | None, Seal]], list[Fault]]:
    """All sealed files, each with the output it is of (None for a checkpoint), and the faults that show without reading
    them."""
    sealed: dict[Path, tuple[Path | None, Seal]] = {}
    faults: list[Fault] = []
    made_from: dict[Path, Path] = {}
    for output in _list_outputs(flow):
        receipt = read_receipt(output)
        if receipt is not None:
            sealed |= {output.parent / name: (output, seal) for name, seal in receipt.outputs.items()}
            made_from |= {Path(name): output for name in receipt.inputs}
        elif output.exists():
            torn = "is damaged" if receipt_path(output).exists() else "is missing"
            faults.append(Fault(output, f"its receipt {receipt_path(output).name} {torn}", _remake(output)))
    faults += _find_lost(flow, made_from, sealed)
    for folder in flow.runs:
        faults += _check_run(Path(flow.runs_dir) / folder, sealed)
        for manifest in sorted((Path(flow.runs_dir) / folder / "checkpoints").glob("*-*/manifest.json")):
            sealed_here = _read_checkpoint(manifest)
            if sealed_here is None:
                remedy = "training puts it aside by itself and takes the checkpoint before it"
                faults.append(Fault(manifest, "is torn or altered", remedy))
            else:
                sealed |= {path: (None, seal) for path, seal in sealed_here.items()}
    return sealed, faults


def _find_lost(flow: Flow, made_from: dict[Path, Path], sealed: Iterable[Path]) -> Iterator[Fault]:
    """Outputs that are gone with their receipts, so that only what was made from them still speaks of them."""
    expected = {path: path for path in _list_outputs(flow)}
    for path in made_from.keys() - set(sealed):
        owner = expected.get(path) or expected.get(path.parent)
        if owner is not None and not path.exists():
            yield Fault(path, f"is gone with its receipt, though {made_from[path]} was made from it", _remake(owner))


def _check_run(run_dir: Path, sealed: dict[Path, tuple[Path | None, Seal]]) -> Iterator[Fault]:
    """The marker of a finished training, and what it seals."""
    done = run_dir / NAME
    again = f"run: rm -f {done} && snakemake --profile local {done} (training takes its last checkpoint up)"
    if done.exists():
        try:
            sealed |= {path: (None, seal) for path, seal in read_done(run_dir).items()}
        except ValueError as error:
            yield Fault(done, str(error), again)
    elif (run_dir / "export").exists():
        yield Fault(done, "is gone, though export was made after it", again)


def _check_plan(flow: Flow) -> list[Fault]:
    """Compare what jobs read of the plan with plan.json's digests: it has these in place of receipts."""
    faults = []
    for corpus, planned in flow.plan.corpora.items():
        folder = Path(flow.plan_dir) / corpus
        lists = {folder / f"buckets/{bucket}.txt": digest for bucket, digest in planned.buckets.items()}
        for path, digest in lists.items():
            if digest_lines(path.read_text(encoding="utf-8", errors="replace").split()) != digest:
                faults.append(Fault(path, "holds other keys than were planned: it was altered", _replan(path)))
            places = folder / f"locations/{path.stem}.json"
            if _keys(places) != path.read_text(encoding="utf-8", errors="replace").split():
                faults.append(Fault(places, "does not say where each of its bucket's tracks lies", _replan(places)))
        metadata = folder / "metadata.jsonl"
        if digest_file(metadata) != planned.metadata_digest:
            faults.append(Fault(metadata, "holds other words than were planned: it was altered", _replan(metadata)))
    return faults


def _keys(locations: Path) -> list[str] | None:
    try:
        return sorted(json.loads(locations.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def _replan(path: Path) -> str:
    return f"run: rm {path} && snakemake --profile local --dry-run"


def _list_outputs(flow: Flow) -> Iterator[Path]:
    """Every output that a stage seals, present or not."""
    results = Path(flow.results)
    for corpus, planned in flow.plan.corpora.items():
        for bucket in planned.buckets:
            yield results / f"audio/{corpus}/{bucket}.tar"
            yield results / f"audio/{corpus}/{bucket}.jsonl"
            yield Path(flow.tokens_dir) / corpus / f"{bucket}.tar"
        yield results / "manifest" / corpus
        yield Path(flow.tokens_dir) / corpus / "index.bin"
    for folder in flow.runs:
        yield from (Path(flow.runs_dir) / folder / name for name in ("export", "samples", "references"))
        yield from (Path(flow.runs_dir) / folder / name for name in ("metrics.json", "report.html"))


def _read_checkpoint(manifest: Path) -> dict[Path, Seal] | None:
    """Seals of a checkpoint's files, by its own manifest; None when that is torn."""
    try:
        stored = json.loads(manifest.read_text(encoding="utf-8"))
        if stored["digest"] != digest_json(stored["manifest"]):
            return None
        files = stored["manifest"]["files"]
        return {
            manifest.parent / name: Seal(num_bytes=f["num_bytes"], mtime_ns=0, digest=f["digest"])
            for name, f in files.items()
        }
    except (OSError, ValueError, KeyError, TypeError):
        return None


_CHECKPOINT = "training puts that checkpoint aside by itself and takes the one before it"


def _explain(path: Path) -> str:
    """What to do about a file that no command makes again."""
    if path.name in SEALED:
        return f"nothing makes it again; bring it back from a copy, or train anew: rm -rf {path.parent}"
    return _CHECKPOINT


def _remake(output: Path) -> str:
    """Commands that make an output again; what depends on it follows at the next snakemake."""
    target = output
    if output.name in FOLDERS:
        target = output / FOLDERS[output.name]
    elif output.parent.name == "manifest":
        target = output / f"{MANIFESTS[0]}.jsonl"
    return f"run: rm -rf {output} && snakemake --profile local {target}"
