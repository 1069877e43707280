"""A config as plain values, where a key that was added later is absent as long as it asks for what was done before.

Signatures, parameters of rules, files of the plan and receipts hold this form. So an upgrade that brings a new key
makes nothing stale and renames no run; a value other than the old behaviour does, and so does a new default, since the
behaviour of before stays written beside the field.
"""

from __future__ import annotations

import types
import typing
from dataclasses import asdict, fields, is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

BEFORE = "before"


def added(*, before: Any) -> dict[str, Any]:
    """Metadata of a field that its class got after runs had been made without it.

        tied: bool = field(default=False, metadata=added(before=False))

    `before` is the value that says what those runs did. It never changes, whatever becomes of the default.
    """
    return {BEFORE: before}


def to_plain(value: Any) -> Any:
    """Dictionaries, lists and scalars of a config, without later keys that ask for what was done before them."""
    if is_dataclass(value) and not isinstance(value, type):
        pairs = [(item, getattr(value, item.name)) for item in fields(value)]
        return {item.name: to_plain(one) for item, one in pairs if not _is_as_before(item, one)}
    if isinstance(value, dict):
        return {key: to_plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(one) for one in value]
    return value


def fill_in(annotation: Any, raw: Any) -> Any:
    """The inverse: plain values of a config, with what was done before in place of absent later keys."""
    if is_dataclass(annotation) and isinstance(raw, dict):
        hints = get_type_hints(annotation)
        later = {item.name: item.metadata[BEFORE] for item in fields(annotation) if BEFORE in item.metadata}
        absent = {name: _whole(before) for name, before in later.items() if name not in raw}
        return {**{key: fill_in(hints.get(key), one) for key, one in raw.items()}, **absent}
    arguments = get_args(annotation)
    if get_origin(annotation) is dict and isinstance(raw, dict):
        return {key: fill_in(arguments[1], one) for key, one in raw.items()}
    if get_origin(annotation) in (tuple, list) and isinstance(raw, list | tuple):
        return [fill_in(arguments[0], one) for one in raw]
    if get_origin(annotation) in (typing.Union, types.UnionType) and isinstance(raw, dict):
        members = [member for member in arguments if is_dataclass(member)]
        chosen = [member for member in members if kind_of(member) == raw.get("kind", kind_of(members[0]))]
        return fill_in(chosen[0], raw) if chosen else raw
    return raw


def kind_of(cls: Any) -> str | None:
    """The tag of a member of a union of config classes."""
    annotation = get_type_hints(cls).get("kind")
    return get_args(annotation)[0] if annotation else None


def _is_as_before(item: Any, value: Any) -> bool:
    return BEFORE in item.metadata and value == item.metadata[BEFORE]


def _whole(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
