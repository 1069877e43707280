"""Where local folders of frozen models lie: named in a config, and no part of what a run is. Their content is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from musicgen_core.config.plain import to_plain

PARTS = ("conditioner", "model")
"""Of a training's config, in which frozen models are named. With a revision they are hub ids: that is their content."""


def map_places(train: dict[str, Any], replace: Callable[[str], Any]) -> dict[str, Any]:
    """The plain values of a training's config with each local folder of a frozen model replaced."""
    return {key: _walk(value, replace) if key in PARTS else value for key, value in train.items()}


def without_places(train: dict[str, Any]) -> dict[str, Any]:
    """The same without saying where they lie."""
    return map_places(train, lambda path: None)


def is_same_elsewhere(one: Any, other: Any) -> bool:
    """Whether two configs of a training differ at most in where frozen models and weights to start from lie, in how the
    run to start from is called, and in what was consented to: in nothing that a signature holds."""
    return _placeless(one) == _placeless(other)


def _placeless(config: Any) -> dict[str, Any]:
    plain = without_places(to_plain(config))
    if init := plain["training"].get("init_from"):
        kept = ("skip", "mono_to_stereo", *(("path", "revision") if init["revision"] is not None else ()))
        plain["training"]["init_from"] = {name: init[name] for name in kept}
    return plain


def _walk(value: Any, replace: Callable[[str], Any]) -> Any:
    if isinstance(value, list):
        return [_walk(one, replace) for one in value]
    if not isinstance(value, dict):
        return value
    walked = {key: _walk(one, replace) for key, one in value.items()}
    if isinstance(value.get("path"), str) and value.get("revision") is None:
        walked["path"] = replace(value["path"])
    return walked
