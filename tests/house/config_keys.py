"""Which keys of config classes each run's signature holds: `make digests` records them, test_config_keys.py compares.

A key of the first record is always in the signature. One that its class got later says what was done before there was
it (config/plain.py), and is in the signature only where a run asks for something else.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

from musicgen_core.config import root
from musicgen_core.config.plain import BEFORE

RECORD = Path(__file__).with_name("config_keys.json")

Keys = dict[str, dict[str, Any]]
"""Class -> `always`: keys; `later`: key -> what was done before."""


def config_classes() -> list[type]:
    """Every config class that a stage depends on."""
    found: list[type] = []
    todo: list[Any] = [cls for name, cls in vars(root).items() if name.endswith("StageConfig")]
    while todo:
        annotation = todo.pop()
        if not is_dataclass(annotation):
            todo += get_args(annotation)
        elif annotation not in found:
            assert isinstance(annotation, type)
            found.append(annotation)
            todo += get_type_hints(annotation).values()
    return sorted(found, key=lambda cls: cls.__name__)


def collect() -> Keys:
    """What the code says."""
    keys: Keys = {}
    for cls in config_classes():
        items = fields(cls)  # type: ignore[arg-type]
        later = {item.name: _plain(item.metadata[BEFORE]) for item in items if BEFORE in item.metadata}
        keys[cls.__name__] = {"always": sorted({item.name for item in items} - later.keys()), "later": later}
    return keys


def find_faults(old: Keys, new: Keys) -> list[str]:
    """One line per key that would change the signatures of runs that exist."""
    lines = []
    for name, before in old.items():
        now = new.get(name, {"always": [], "later": {}})
        lines += [
            f"{name}.{key} is new: field(default=..., metadata=added(before=...)) says what runs did without it"
            for key in now["always"]
            if key not in before["always"] and key not in before["later"]
        ]
        lines += [f"{name}.{key} has lost its metadata" for key in now["always"] if key in before["later"]]
        lines += [
            f"{name}.{key} was always in the signature; it cannot leave it"
            for key in before["always"]
            if key in now["later"]
        ]
        lines += [
            f"{name}.{key} says {now['later'][key]!r} was done before, and said {value!r}: put that back"
            for key, value in before["later"].items()
            if key in now["later"] and now["later"][key] != value
        ]
    return lines


def find_unrecorded(old: Keys, new: Keys) -> list[str]:
    """Classes and keys that came or went since the record."""
    flat = [
        {f"{name}.{key}" for name, keys in side.items() for key in (*keys["always"], *keys["later"])}
        for side in (old, new)
    ]
    return sorted(flat[0] ^ flat[1])


def read_record() -> Keys:
    keys: Keys = json.loads(RECORD.read_text(encoding="utf-8"))
    return keys


def _plain(value: Any) -> Any:
    whole = asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
    return json.loads(json.dumps(whole))


if __name__ == "__main__":
    faults = find_faults(read_record(), collect()) if RECORD.exists() else []
    if faults:
        raise SystemExit("\n".join(faults))
    RECORD.write_text(json.dumps(collect(), indent=1) + "\n", encoding="utf-8")
    print(f"wrote {RECORD.name}")
