"""Which parameters an entry of training.freeze names."""

from __future__ import annotations

import fnmatch
import re

GROUPS: dict[str, str] = {
    "embeddings": r"emb\..*",
    "heads": r"linears\..*",
    "norms": r"(.*\.)?(out_norm|norm1|norm2|norm_cross)\..*",
    "conditioners": r"condition_provider\..*",
    "attention": r"transformer\.layers\.\d+\.self_attn\..*",
    "cross_attention": r"transformer\.layers\.\d+\.cross_attention\..*",
    "feed_forward": r"transformer\.layers\.\d+\.linear[12]\..*",
}
"""Name -> which parameters, as a regular expression of the whole name."""

LAYERS = re.compile(r"layers (\d+)(?:-(\d+))?")


def names_parameter(entry: str, name: str) -> bool:
    """Whether the entry, a group, `layers A-B` or a shell pattern, names this parameter."""
    if entry in GROUPS:
        return re.fullmatch(GROUPS[entry], name) is not None
    if layers := LAYERS.fullmatch(entry):
        number = re.match(r"transformer\.layers\.(\d+)\.", name)
        return number is not None and int(layers[1]) <= int(number[1]) <= int(layers[2] or layers[1])
    return fnmatch.fnmatchcase(name, entry)
