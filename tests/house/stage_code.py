"""Digests of the code that each stage's results come from: `make digests` records them, test_stage_code.py compares.

Of Python the syntax tree counts, without docstrings; of Rust and C++ the text without comments and white space. The
code of a stage is its module and every module of this project that is imported below it, inside functions too.
"""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

from musicgen_core.stages import STAGES
from musicgen_core.util.digest import digest_lines

ROOT = Path(__file__).parents[2]
RECORD = Path(__file__).with_name("stage_code.json")
EXTENSION = "musicgen_core.native"

# What a person sees, and how config.yaml is read: a stage gets its config as a parameter, which is compared by itself.
NO_RESULT = {"musicgen_core", "musicgen_core.util.log", "musicgen_core.config.load", "musicgen_core.config.root"}


def stage_modules(stage: str) -> list[str]:
    """Names of the modules that a stage's results come from, sorted."""
    found: set[str] = set()
    todo = [f"musicgen_core.stages.{stage}"]
    while todo:
        name = todo.pop()
        if name not in found and name not in NO_RESULT:
            found.add(name)
            todo += _imports(ast.parse(_path(name).read_text(encoding="utf-8")))
    return sorted(found - {"musicgen_core.stages"})


def digest_module(name: str) -> str:
    return digest_lines([normalise_python(_path(name).read_text(encoding="utf-8"))])


def native_files() -> list[Path]:
    """Sources of the extension."""
    folder = ROOT / "rust_loader"
    return sorted([*folder.glob("src/**/*.rs"), *folder.glob("kernels/*.cc"), *folder.glob("kernels/*.h")])


def normalise_python(text: str) -> str:
    """The syntax tree without docstrings: comments, layout and explanations do not count."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            kept = [item for item in body if not (isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant))]
            node.body = kept or [ast.Pass()]  # type: ignore[attr-defined]
    return ast.dump(tree)


def normalise_native(text: str) -> str:
    """Without comments and white space; a `//` inside a string is cut too, which loses nothing but a little notice."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    return "".join(re.sub(r"//[^\n]*", "", text).split())


def record() -> dict[str, dict[str, object]]:
    """What `make digests` writes: digests by file, and by stage its version and its files."""
    code: dict[str, str] = {}
    stages: dict[str, object] = {}
    for stage in STAGES:
        modules = stage_modules(stage)
        code |= {_shown(_path(name)): digest_module(name) for name in modules}
        files = [_shown(_path(name)) for name in modules]
        if EXTENSION in modules:
            files.append("rust_loader")
        stages[stage] = {"version": STAGES[stage].version, "files": files}
    code |= {_shown(p): digest_lines([normalise_native(p.read_text(encoding="utf-8"))]) for p in native_files()}
    return {"code": dict(sorted(code.items())), "stages": stages}


def find_forgotten(old: dict[str, dict[str, object]], new: dict[str, dict[str, object]]) -> list[str]:
    """One line per stage whose code differs from the recorded one although its version does not."""
    differ = {f for f in {*old["code"], *new["code"]} if old["code"].get(f) != new["code"].get(f)}
    lines = []
    for stage, now in new["stages"].items():
        then = old["stages"].get(stage, {"version": None, "files": []})
        files = {*then["files"], *now["files"]}
        changed = sorted(f for f in differ if f in files or ("rust_loader" in files and f.startswith("rust_loader/")))
        if changed and then["version"] == now["version"]:
            shown = ", ".join(changed[:4]) + (f" and {len(changed) - 4} more" if len(changed) > 4 else "")
            lines.append(f"{stage}, version {now['version']}: {shown}")
    return lines


def _imports(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "musicgen_core":
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module or ""}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("musicgen_core")}
    return {name for name in found if _path(name).is_file() and "_rust_loader" not in name}


def _path(name: str) -> Path:
    path = ROOT.joinpath(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


if __name__ == "__main__":
    RECORD.write_text(json.dumps(record(), indent=1) + "\n", encoding="utf-8")
    print(f"wrote {RECORD.relative_to(ROOT)}")
