"""Checkpoints of others (`torch.save`) read without running what is in them.

torch.load's weights-only unpickler builds tensors, plain containers, numbers and text, and refuses any other class. An
exported AudioCraft file needs no more: its config is YAML text. A training checkpoint (`checkpoint.th`) holds it as
omegaconf objects; their classes are replaced by an inert one that keeps what it is given and does nothing else.
"""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import torch

# classes that a pickled omegaconf config names (omegaconf/{dictconfig,listconfig,base,nodes}.py)
OMEGACONF_CLASSES: tuple[str, ...] = (
    "omegaconf.dictconfig.DictConfig",
    "omegaconf.listconfig.ListConfig",
    "omegaconf.base.ContainerMetadata",
    "omegaconf.base.Metadata",
    "omegaconf.nodes.AnyNode",
    "omegaconf.nodes.StringNode",
    "omegaconf.nodes.IntegerNode",
    "omegaconf.nodes.FloatNode",
    "omegaconf.nodes.BooleanNode",
)


class Inert:
    """Stands for an object of a class that is not loaded. It keeps what the file says, without behaviour."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


def load_untrusted(path: Path) -> Any:
    """What `torch.save` wrote, tensors on the CPU. ValueError names a file that is damaged or holds other classes."""
    import collections
    import typing

    harmless: list[Any] = [(Inert, name) for name in OMEGACONF_CLASSES]
    harmless += [(typing.Any, "typing.Any"), collections.defaultdict, (dict, "builtins.dict"), (list, "builtins.list")]
    harmless += [(int, "builtins.int"), (float, "builtins.float"), (str, "builtins.str"), (bool, "builtins.bool")]
    try:
        with torch.serialization.safe_globals(harmless):
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except pickle.UnpicklingError as error:
        refused = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = refused[1] if refused else "unknown instructions"
        raise ValueError(
            f"{path}: holds more than weights and settings ({what}); nothing of it was run. Save it again as "
            "{'best_state': ..., 'xp.cfg': ...}, as audiocraft.utils.export.export_lm does"
        ) from None
    except (RuntimeError, EOFError, KeyError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path}: not a whole torch.save file ({reason[:200]}); copy it again") from None


def plain(value: Any) -> Any:
    """omegaconf objects, as `load_untrusted` leaves them, as dictionaries, lists and values."""
    if isinstance(value, Inert):
        content = vars(value).get("_content", vars(value).get("_val"))
        return plain(content)
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
