"""Every crate that is linked and every package that is needed at run time has a licence that we may pass on. Offline:
cargo's and pip's own metadata, against the list in rust_loader/deny.toml."""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
ALLOWED = set(tomllib.loads((ROOT / "rust_loader/deny.toml").read_text())["licenses"]["allow"])
PYTHON_ALLOWED = ALLOWED | {"PSF-2.0", "MIT-CMU", "CNRI-Python"}

# Packages whose metadata is in words, wrong, or not free: what is so, and why it is let in.
NAMED = {
    "cuda-toolkit": "NVIDIA's, a dependency of torch for CUDA; not ours to pass on, pip fetches it",
    "conda-inject": "MIT by its LICENSE file; a dependency of snakemake",
    "docutils": "public domain and BSD; its GPL part is an Emacs mode that nothing imports",
    "encodec": "its wheel of 2022 says CC-BY-NC-4.0, its repository MIT (README of facebookresearch/encodec, License)",
    "matplotlib": "PSF-like",
    "nvidia-*": "NVIDIA's, dependencies of torch for CUDA; not ours to pass on, pip fetches them",
    "shellingham": "ISC",
    "snakemake-interface-*": "MIT by the LICENSE files in their wheels; dependencies of snakemake",
}
CLASSIFIERS = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
WORDS = {
    "Apache 2.0 License": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "3-Clause BSD License": "BSD-3-Clause",
}


def permitted(expression: str, allowed: set[str]) -> bool:
    """Whether an SPDX expression (with cargo's old `/` for OR) leaves a choice of allowed licences only."""
    tokens = re.findall(r"\(|\)|\bAND\b|\bOR\b|[\w.+-]+(?: WITH [\w.-]+)?", expression.replace("/", " OR "))
    words = {"AND": "and", "OR": "or", "(": "(", ")": ")"}
    return bool(tokens) and eval(" ".join(words.get(token, str(token in allowed)) for token in tokens))


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("MIT", True),
        ("GPL-3.0-only", False),
        ("GPL-3.0 OR MIT", True),
        ("GPL-3.0 AND MIT", False),
        ("(MIT OR GPL-2.0) AND Unicode-3.0", True),
        ("MIT/Apache-2.0", True),
        ("Apache-2.0 WITH LLVM-exception", True),
        ("GPL-2.0 WITH Classpath-exception-2.0", False),
        ("", False),
    ],
)
def test_expressions(expression, expected):
    assert permitted(expression, ALLOWED) is expected


def test_crates():
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--all-features"]
    shown = subprocess.run(command, cwd=ROOT / "rust_loader", capture_output=True, text=True, check=True)
    packages = json.loads(shown.stdout)["packages"]
    assert len(packages) > 50
    bad = {p["name"]: p["license"] for p in packages if not permitted(p["license"] or "", ALLOWED)}
    assert not bad, "not in rust_loader/deny.toml"
    sources = {p["source"].split("+")[0] for p in packages if p["source"] is not None}
    assert sources == {"registry"}, "every crate comes from the registry"


def needed(name: str, found: dict[str, importlib.metadata.Distribution]) -> None:
    """Adds the package and all that it needs on this platform, without extras."""
    key = re.sub(r"[-_.]+", "-", name).lower()
    if key in found:
        return
    try:
        found[key] = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return  # of another platform
    for text in found[key].requires or []:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            needed(requirement.name, found)


def licence(distribution: importlib.metadata.Distribution) -> str:
    fields = distribution.metadata
    classifiers = [c.split(" :: ")[-1] for c in fields.get_all("Classifier", []) if c.startswith("License :: ")]
    known = [CLASSIFIERS[c] for c in classifiers if c in CLASSIFIERS]
    words = fields.get("License", "")
    return fields.get("License-Expression") or " OR ".join(known) or WORDS.get(words, words)


def test_python_packages():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found: dict[str, importlib.metadata.Distribution] = {}
    for text in project["dependencies"]:
        needed(Requirement(text).name, found)
    assert len(found) > 50
    named = re.compile("|".join(name.replace("*", ".*") for name in NAMED))
    bad = {
        key: licence(distribution)
        for key, distribution in found.items()
        if not named.fullmatch(key) and not permitted(licence(distribution), PYTHON_ALLOWED)
    }
    assert not bad, "neither an allowed licence nor named above with a reason"
