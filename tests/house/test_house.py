"""Rules of the house that a reader relies on: layers, one noun per file, no addresses, rules = commands = stages."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

from musicgen_core.stages import STAGES

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "musicgen_core"

# What each layer may import; a layer not named may be imported by nobody else.
MAY_IMPORT = {
    "native": {"native", "_rust_loader"},
    "util": {"native", "util"},
    "config": {"config", "util", "native"},
    "data": {"data", "native", "config", "util"},
    "codec": {"codec", "config", "util", "native"},
    "patterns": {"patterns", "config", "native"},
    "conditioners": {"conditioners", "config", "util", "native"},
    "lm": {"lm", "conditioners", "patterns", "config", "util", "native"},
    "layouts": {"layouts", "lm", "conditioners", "patterns", "codec", "config", "util", "native"},
    "train": {"train", "layouts", "lm", "conditioners", "patterns", "data", "config", "util", "native"},
    "eval": {"eval", "lm", "conditioners", "patterns", "codec", "data", "config", "util", "native"},
    "stages": {
        "layouts",
        "train",
        "eval",
        "lm",
        "conditioners",
        "patterns",
        "codec",
        "data",
        "config",
        "util",
        "native",
    },
    "flow": {"flow", "stages", "patterns", "data", "config", "util", "native"},
    "preflight": {
        "preflight",
        "flow",
        "train",
        "eval",
        "lm",
        "conditioners",
        "patterns",
        "codec",
        "data",
        "config",
        "util",
        "native",
    },
    "tools": {"tools", "preflight", "flow", "layouts", "lm", "codec", "data", "config", "util", "native"},
    "cli": {"stages", "tools", "config", "util"},
}


def _tracked(*patterns: str) -> list[Path]:
    shown = subprocess.run(["git", "ls-files", "--", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / line for line in shown.stdout.splitlines() if (ROOT / line).is_file()]


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("musicgen_core"):
            parts = node.module.split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("musicgen_core.")}
    return found - {"__version__"}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    layer = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if layer == "__init__":
        assert not _imports(path)
        return
    assert _imports(path) <= MAY_IMPORT[layer] | {layer}


def test_only_native_imports_the_extension() -> None:
    users = [path for path in PACKAGE.rglob("*.py") if "_rust_loader" in path.read_text()]
    assert {path.parent.name for path in users} <= {"native", "tools"}
    assert [path.name for path in users if path.parent.name == "tools"] == ["doctor.py"]


def test_workflow_imports_only_config_and_the_stage_table() -> None:
    allowed = re.compile(r"musicgen_core\.(config|stages|flow|util)\b|musicgen_core\.stages import")
    for path in [*(ROOT / "workflow").rglob("*.smk"), ROOT / "workflow/Snakefile"]:
        for line in path.read_text().splitlines():
            if re.match(r"\s*(from|import) musicgen_core", line):
                assert allowed.search(line), f"{path.name}: {line}"


def test_files_are_short() -> None:
    for path in _tracked("*.py", "*.rs", "*.cc", "*.h", "*.smk", "workflow/Snakefile"):
        assert len(path.read_text().splitlines()) <= 400, path


def test_rules_are_commands_are_stages() -> None:
    text = "\n".join(path.read_text() for path in (ROOT / "workflow/rules").glob("*.smk"))
    called = set(re.findall(r"musicgen ([a-z-]+) ", text))
    assert called == set(STAGES) - {"scan"}, "every stage but the scan, which Snakemake's main process runs, has a rule"
    for name in STAGES:
        assert (PACKAGE / f"stages/{name}.py").exists()


def test_no_addresses_in_locks() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock
    assert "==" in lock


def test_no_stray_marks() -> None:
    for path in _tracked("*.py", "*.rs", "*.cc", "*.smk"):
        if path != Path(__file__):
            assert not re.search(r"NotImplementedError|\bTODO\b|\bFIXME\b", path.read_text()), path


def test_one_run_can_hold_all_test_files() -> None:
    # pytest imports a test file outside a package by its bare name: two of one name stop the whole run
    loose = [path.name for path in _tracked("tests/**/*.py") if not (path.parent / "__init__.py").exists()]
    twice = sorted({name for name in loose if loose.count(name) > 1} - {"conftest.py"})
    assert twice == [], f"rename one of each: {twice}"
