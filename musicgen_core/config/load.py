"""Read and check config.yaml: one clear line for every mistake, with the nearest name for a wrong key."""

from __future__ import annotations

import difflib
import json
import re
import types
import typing
from dataclasses import asdict, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from musicgen_core.config.condition import AUDIO_KINDS, StyleConditionConfig, check_style, fit_to_segment
from musicgen_core.config.evaluation import check_generation
from musicgen_core.config.plain import fill_in, kind_of, to_plain
from musicgen_core.config.root import RootConfig, RunConfig, TrainStageConfig
from musicgen_core.config.sampling import check_sampling
from musicgen_core.config.start import check_start
from musicgen_core.config.training_check import check_optimization

T = TypeVar("T")

RUN_KEYS = ("seed", "on_changed_data", "corpora", "model", "conditioner", "training", "generation", "evaluation")
FIELDS = ("key", "bpm", "genre", "moods", "instrument", "keywords", "title", "artist", "album", "name", "license")
"""What of a track's metadata a model may be conditioned on: data/records.py, Music."""

_WORDS = {"tuple_type": "expected a list", "dataclass_type": "expected keys and values"}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class ConfigError(ValueError):
    """A configuration that cannot be used; the message is one line for the user."""


def load_config(path: str | Path) -> RootConfig:
    """Read and check a YAML file. Raises ConfigError naming the file, the key and the remedy."""
    raw = read_config(path)
    try:
        return parse_config(raw)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def read_config(path: str | Path) -> dict[str, Any]:
    """Read a YAML file, without a look at what its keys mean. Raises ConfigError."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; run from the folder that holds config.yaml, or name it") from None
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}{where}: not YAML ({getattr(error, 'problem', None) or error})") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: expected keys and values, got {type(raw).__name__}")
    return raw


def parse_config(raw: dict[str, Any]) -> RootConfig:
    """Check a dictionary as read from YAML, its runs included. Raises ConfigError."""
    root = from_dict(RootConfig, raw)
    if not root.corpora:
        raise ConfigError("corpora: is empty; name at least one folder of music, such as `mine: {path: music}`")
    if not root.runs:
        raise ConfigError("runs: is empty; name at least one, such as `base: {}`")
    for kind, names in (("corpora", root.corpora), ("runs", root.runs)):
        for name in names:
            if not _NAME.fullmatch(name):
                raise ConfigError(f"{kind}.{name!r}: names become folders; use letters, digits, '.', '_' and '-'")
    _check_values(root)
    resolve_runs(root)
    return root


def resolve_runs(root: RootConfig) -> dict[str, RunConfig]:
    """Every run of config.yaml with its overrides applied to the base. Raises ConfigError."""
    base = {key: value for key, value in asdict(root).items() if key in RUN_KEYS and key != "corpora"}
    runs = {}
    for name, override in root.runs.items():
        override = override or {}
        where = f"runs.{name}"
        for key in override:
            if key not in RUN_KEYS:
                raise ConfigError(_unknown(where, key, RUN_KEYS))
        merged = _merge(base, {key: value for key, value in override.items() if key != "corpora"})
        corpora = override.get("corpora", list(root.corpora))
        if not isinstance(corpora, list | tuple) or not corpora:
            raise ConfigError(f"{where}.corpora: expected a list of names, got {corpora!r}")
        for corpus in corpora:
            if corpus not in root.corpora:
                raise ConfigError(_unknown(f"{where}.corpora", corpus, tuple(root.corpora), "corpus"))
        runs[name] = from_dict(RunConfig, {"name": name, "corpora": tuple(corpora), **merged}, where)
        _check_run(runs[name], {key: f"{where}.{key}" if key in override else key for key in RUN_KEYS})
        model, segment_sec = runs[name].model, runs[name].training.segment_sec
        masked = model.mask_condition_padding
        if masked is None and runs[name].training.init_from is None:
            masked = True  # null is left to those that start from weights: flow/padding.py asks these
        conditions = fit_to_segment(model.conditions, segment_sec)
        runs[name] = replace(runs[name], model=replace(model, conditions=conditions, mask_condition_padding=masked))
    try:
        check_start(runs)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    return runs


def from_dict(cls: type[T], raw: Any, where: str = "") -> T:
    """Build a config dataclass from plain values. Raises ConfigError that names the key by its full path."""
    _check_keys(cls, raw, where)
    try:
        return TypeAdapter(cls).validate_python(raw)
    except ValidationError as error:
        errors = error.errors(include_url=False)
        first = next((item for item in errors if _names_chosen_kind(cls, raw, item["loc"])), errors[0])
        parts = [str(part) for part in first["loc"] if not str(part).endswith("Config")]
        key = ".".join([*([where] if where else []), *parts])
        message = _WORDS.get(first["type"], first["msg"])
        given = first.get("input")
        shown = f", got {given!r}" if isinstance(given, str | int | float | bool | type(None)) else ""
        if first["type"] == "missing":
            raise ConfigError(f"{key}: this key is required") from None
        raise ConfigError(f"{key}: {message}{shown}") from None


def to_json(value: Any) -> str:
    """One line of JSON with sorted keys: the form (config/plain.py) in which rules hand a stage its config."""
    return json.dumps(to_plain(value), sort_keys=True, separators=(",", ":"))


def from_json(cls: type[T], text: str) -> T:
    """Inverse of `to_json`. Raises ConfigError."""
    try:
        raw = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"not JSON: {error.msg} at character {error.pos}") from None
    return from_plain(cls, raw)


def from_plain(cls: type[T], raw: Any, where: str = "") -> T:
    """Build what a run, an export or `to_json` has written down (config/plain.py). Raises ConfigError."""
    return from_dict(cls, fill_in(cls, raw), where)


def from_record(raw: dict[str, Any]) -> TrainStageConfig:
    """What a run was trained with, by the contents of its config.json. Raises ConfigError."""
    return from_plain(
        TrainStageConfig, {item.name: raw[item.name] for item in fields(TrainStageConfig) if item.name in raw}
    )


def json_schema() -> dict[str, Any]:
    """JSON Schema of config.yaml, for editors; committed as workflow/schemas/config.schema.json."""
    schema = TypeAdapter(RootConfig).json_schema()
    _close(schema)
    hints = get_type_hints(RootConfig)
    _describe(schema, RootConfig)
    for definition in schema.get("$defs", {}).values():
        for cls in _dataclasses(hints.values()):
            if definition.get("title") == cls.__name__:
                _describe(definition, cls)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _check_keys(annotation: Any, raw: Any, where: str) -> None:
    """Reject unknown keys before pydantic sees them: it would name them, but not the nearest one."""
    if is_dataclass(annotation) and isinstance(raw, dict):
        hints = get_type_hints(annotation)
        for key, value in raw.items():
            if key not in hints:
                raise ConfigError(_unknown(where, str(key), tuple(hints)))
            _check_keys(hints[key], value, f"{where}.{key}" if where else key)
    elif get_origin(annotation) is dict and isinstance(raw, dict):
        for key, value in raw.items():
            _check_keys(get_args(annotation)[1], value, f"{where}.{key}")
    elif get_origin(annotation) in (tuple, list) and isinstance(raw, list | tuple):
        for number, value in enumerate(raw):
            _check_keys(get_args(annotation)[0], value, f"{where}.{number}")
    elif get_origin(annotation) in (typing.Union, types.UnionType) and isinstance(raw, dict):
        members = [member for member in get_args(annotation) if is_dataclass(member)]
        kinds = {kind_of(member): member for member in members}
        if None not in kinds and kinds:
            kind = raw.get("kind", next(iter(kinds)))
            if kind not in kinds:
                raise ConfigError(_unknown(f"{where}.kind", str(kind), tuple(str(k) for k in kinds), "value"))
            _check_keys(kinds[kind], raw, where)
        elif members:
            _check_keys(members[0], raw, where)


def _names_chosen_kind(annotation: Any, raw: Any, loc: tuple[int | str, ...]) -> bool:
    """False for a complaint about a union member that `kind` did not choose (pydantic tries them all)."""
    for part in loc:
        if isinstance(raw, dict) and str(part).endswith("Config") and part not in raw:
            chosen = raw.get("kind")
            member = next((cls for cls in _dataclasses([annotation]) if cls.__name__ == part), None)
            if member is not None and chosen is not None and kind_of(member) not in (None, chosen):
                return False
        elif isinstance(raw, dict) and part in raw:
            raw = raw[str(part)]
    return True


def _unknown(where: str, name: str, known: tuple[str, ...], noun: str = "key") -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
    return f"{where + ': ' if where else ''}unknown {noun} `{name}`; did you mean `{near}`?"


def _merge(base: dict[str, Any], override: dict[str, Any]) -> dict[str, Any]:
    """Deep merge. Another `kind` replaces the whole section: the old kind's keys mean nothing to it."""
    merged = dict(base)
    for key, value in override.items():
        old = merged.get(key)
        same_kind = (
            isinstance(old, dict) and isinstance(value, dict) and value.get("kind", old.get("kind")) == old.get("kind")
        )
        merged[key] = _merge(old, value) if same_kind and isinstance(old, dict) else value
    return merged


def _check_values(root: RootConfig) -> None:
    if not root.results.strip():
        raise ConfigError("results: is empty; name a folder, such as `results`")
    data = root.data
    for name in ("valid_fraction", "evaluate_fraction"):
        value = getattr(data, name)
        if not 0 < value < 1:
            raise ConfigError(f"data.{name}: {value} must lie between 0 and 1")
    if data.valid_fraction + data.evaluate_fraction >= 1:
        total = data.valid_fraction + data.evaluate_fraction
        raise ConfigError(f"data: valid_fraction + evaluate_fraction = {total} leaves nothing to train on")
    if data.min_duration_sec <= 0:
        raise ConfigError(f"data.min_duration_sec: {data.min_duration_sec} must be above 0")
    for name, corpus in root.corpora.items():
        if corpus.num_buckets < 1:
            raise ConfigError(f"corpora.{name}.num_buckets: {corpus.num_buckets} must be at least 1")
        if corpus.weight <= 0:
            raise ConfigError(f"corpora.{name}.weight: {corpus.weight} must be above 0")
    if root.tokenize.chunk_sec <= 0 or root.tokenize.overlap_sec < 0:
        raise ConfigError("tokenize: chunk_sec must be above 0 and overlap_sec at least 0")
    for key in ("checkpoint_every_min", "keep_every_steps", "stall_limit_sec"):
        if (number := getattr(root.upkeep, key)) is not None and number <= 0:
            raise ConfigError(f"upkeep.{key}: {number} must be above 0")


def _check_run(run: RunConfig, names: dict[str, str]) -> None:
    """`names` says where the user wrote each section: in the run, or in the base."""
    training, model = run.training, run.model
    dim, heads, _ = model.shape
    if dim % heads or (dim // heads) % 2:
        raise ConfigError(f"{names['model']}.dim: {dim} must be an even multiple of model.num_heads {heads}")
    for name in (
        "steps",
        "batch_size",
        "segment_sec",
        "learning_rate",
        "keep_last",
        "ema_every_steps",
        "log_every_steps",
        "validate_every_steps",
        "checkpoint_every_steps",
        "num_valid_segments",
    ):
        if getattr(training, name) <= 0:
            raise ConfigError(f"{names['training']}.{name}: {getattr(training, name)} must be above 0")
    micro = training.micro_batch_size
    if micro is not None and (micro <= 0 or training.batch_size % micro):
        raise ConfigError(f"{names['training']}.micro_batch_size: {micro} must divide batch_size {training.batch_size}")
    if not 0 <= training.cfg_dropout <= 1:
        raise ConfigError(f"{names['training']}.cfg_dropout: {training.cfg_dropout} must lie between 0 and 1")
    for name, value in asdict(training.words).items():
        if not 0 <= value <= 1:
            raise ConfigError(f"{names['training']}.words.{name}: {value} must lie between 0 and 1")
    for name, condition in model.conditions.items():
        if condition.kind in AUDIO_KINDS:
            if name in (*FIELDS, "description"):
                raise ConfigError(
                    f"{names['model']}.conditions.{name}: {condition.kind} reads a track's audio, not its field "
                    f"`{name}`; name it self_wav"
                )
        elif name not in FIELDS:
            raise ConfigError(_unknown(f"{names['model']}.conditions", name, FIELDS, "field of a track's metadata"))
        if not 0 <= condition.dropout <= 1:
            raise ConfigError(f"{names['model']}.conditions.{name}.dropout: {condition.dropout} must lie in [0, 1]")
        if isinstance(condition, StyleConditionConfig):
            try:
                check_style(condition, training.segment_sec)
            except ValueError as error:
                raise ConfigError(f"{names['model']}.conditions.{name}{error}") from None
    if not 0 < training.min_segment_ratio <= 1:
        raise ConfigError(f"{names['training']}.min_segment_ratio: {training.min_segment_ratio} must lie in (0, 1]")
    try:
        check_optimization(training)
    except ValueError as error:
        raise ConfigError(f"{names['training']}.{error}") from None
    try:
        check_sampling(training.sampling, run.corpora)
    except ValueError as error:
        raise ConfigError(f"{names['training']}.sampling.{error}") from None
    try:
        check_generation(run.generation)
    except ValueError as error:
        raise ConfigError(f"{names['generation']}{error}") from None


def _dataclasses(annotations: typing.Iterable[Any]) -> list[Any]:
    """Every dataclass reachable from the annotations."""
    found: list[Any] = []
    for annotation in annotations:
        if is_dataclass(annotation):
            found += [annotation, *_dataclasses(get_type_hints(annotation).values())]
        else:
            found += _dataclasses(get_args(annotation))
    return found


def _close(schema: Any) -> None:
    """Forbid unknown keys in every object of the schema that lists its properties."""
    if isinstance(schema, dict):
        if "properties" in schema:
            schema["additionalProperties"] = False
        for value in schema.values():
            _close(value)
    elif isinstance(schema, list):
        for value in schema:
            _close(value)


def _describe(schema: dict[str, Any], cls: Any) -> None:
    """Copy the docstring under each field into the schema, so that editors show it."""
    import ast
    import inspect
    import textwrap

    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(body, ast.ClassDef)
    names = {item.name for item in fields(cls)}
    for statement, following in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and statement.target.id in names
            and isinstance(following, ast.Expr)
            and isinstance(following.value, ast.Constant)
        ):
            schema["properties"][statement.target.id]["description"] = " ".join(str(following.value.value).split())
