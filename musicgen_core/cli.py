"""`musicgen <stage>`: flags come from the stage's signature, and a stage is imported only when it is called."""

from __future__ import annotations

import argparse
import importlib
import inspect
import os
import signal
import sys
import threading
import time
import types
import typing
from collections.abc import Callable
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from musicgen_core import __version__
from musicgen_core.stages import STAGES
from musicgen_core.util.one_line import one_line

TOOLS: dict[str, str] = {
    "demo-corpus": "synthesise a small captioned corpus to try the pipeline on",
    "train-codec": "train the tiny codec that the project ships",
    "fetch": "bring hub weights named in config.yaml into the local store (the only networked command)",
    "convert": "bring a model from or to the layouts of AudioCraft and transformers",
    "why": "say of each job that would run which input, key or version makes it run",
    "plan": "say what a run of everything would cost: jobs, hours of audio, bytes, time, GPU memory; run nothing",
    "preflight": "check a run in minutes before a long training: rate, codes, captions, first loss, one batch, memory",
    "verify": "compare every result with the digest that its stage wrote down, and say what to run again",
    "gc": "list, and with --remove remove, what under results no config refers to",
    "schema": "write the JSON Schema of config.yaml",
    "bench-loader": "time the loaders on this machine and corpus, against a GPU's need",
    "doctor": "print versions and devices, and what is missing",
}


def main(arguments: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0
    if arguments[0] in ("-V", "--version"):
        print(f"musicgen-core {__version__}")
        return 0
    name, rest = arguments[0], arguments[1:]
    if name not in STAGES and name not in TOOLS:
        print(f"musicgen: no command `{name}`; `musicgen --help` lists them", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.unraisablehook = _deliver_again
    try:
        function = _function(name)
        values = {flag: _expand(value) for flag, value in vars(_parser(name, function).parse_args(rest)).items()}
        config = _positional(name, function, values)
        result = _run_stage(name, function, config, values) if name in STAGES else function(*config, **values)
    except KeyboardInterrupt:
        print(f"musicgen {name}: interrupted; nothing half-written was kept", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        if "--traceback" in rest:
            raise
        print(f"musicgen {name}: error: {one_line(error)}", file=sys.stderr)
        return 1
    return result if isinstance(result, int) else 0


def _deliver_again(swallowed: sys.UnraisableHookArgs) -> None:
    """Send a stop once more when it arrived where Python cannot raise: in a destructor or a callback from C."""
    if isinstance(swallowed.exc_value, KeyboardInterrupt):
        _send_soon(signal.SIGINT)
    elif isinstance(swallowed.exc_value, SystemExit):
        _send_soon(signal.SIGTERM)
    else:
        sys.__unraisablehook__(swallowed)


def _send_soon(number: signal.Signals, delay_sec: float = 0.01) -> None:
    try:
        threading.Timer(delay_sec, os.kill, (os.getpid(), number)).start()
    except (KeyboardInterrupt, SystemExit):  # it came before this returned, where it would be lost once more
        _send_soon(number, 4 * delay_sec)


def _overview() -> str:
    width = max(map(len, [*STAGES, *TOOLS]))
    lines = [
        f"musicgen-core {__version__}: from a folder of music to a trained, evaluated, exported model",
        "",
        "Usually you run the whole chain:  snakemake --profile local",
        "",
        "stages, in the order of the workflow:",
        *(f"  {name:<{width}}  {stage.summary}" for name, stage in STAGES.items()),
        "",
        "tools:",
        *(f"  {name:<{width}}  {summary}" for name, summary in TOOLS.items()),
        "",
        "`musicgen COMMAND --help` shows a command's flags.",
    ]
    return "\n".join(lines)


def _function(name: str) -> Callable[..., Any]:
    package = "stages" if name in STAGES else "tools"
    return importlib.import_module(f"musicgen_core.{package}.{name.replace('-', '_')}").run


def _parser(name: str, function: Callable[..., Any]) -> argparse.ArgumentParser:
    summary = STAGES[name].summary if name in STAGES else TOOLS[name]
    parser = argparse.ArgumentParser(
        prog=f"musicgen {name}",
        description=f"{summary[0].upper()}{summary[1:]}.\n\n{inspect.getdoc(function) or ''}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    hints = get_type_hints(function)
    for parameter in inspect.signature(function).parameters.values():
        annotation = hints[parameter.name]
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            parser.add_argument(parameter.name, nargs="*")
            continue
        if parameter.name == "config" and is_dataclass(annotation):
            parser.add_argument(
                "--config",
                default="config.yaml",
                help=f"{_class(annotation).__name__} as JSON, or a config.yaml to take it from (default config.yaml)",
            )
            continue
        _add_flag(parser, parameter, annotation)
    parser.add_argument("--traceback", action="store_true", help="show the whole traceback of an error")
    return parser


def _add_flag(parser: argparse.ArgumentParser, parameter: inspect.Parameter, annotation: Any) -> None:
    options: dict[str, Any] = {"required": parameter.default is inspect.Parameter.empty}
    if not options["required"]:
        options["default"] = parameter.default
        options["help"] = f"default: {parameter.default}"
    inner = [member for member in get_args(annotation) if member is not type(None)]
    if get_origin(annotation) in (typing.Union, types.UnionType) and len(inner) == 1:
        annotation = inner[0]
    if annotation is bool:
        options = {"action": argparse.BooleanOptionalAction, **options}
    elif get_origin(annotation) in (list, tuple):
        options |= {"nargs": "+", "type": get_args(annotation)[0]}
    elif get_origin(annotation) is typing.Literal:
        options["choices"] = get_args(annotation)
    else:
        options["type"] = annotation
    parser.add_argument(f"--{parameter.name.replace('_', '-')}", **options)


def _run_stage(name: str, function: Callable[..., Any], config: list[Any], values: dict[str, Any]) -> Any:
    """Check that a stage's inputs are as their own stages left them, run it, and seal what it wrote."""
    from musicgen_core.config.plain import to_plain
    from musicgen_core.util.receipt import check_inputs, write_receipt

    stage, started = STAGES[name], time.monotonic()
    written = [values[argument] for argument in stage.outputs]
    given = [value for argument, value in values.items() if argument not in (*stage.outputs, *stage.asides)]
    inputs = check_inputs([path for path in _flat(given) if isinstance(path, Path)])
    result = function(*config, **values)
    for output in written:
        write_receipt(output, name, stage.version, to_plain(config[0]), inputs, time.monotonic() - started)
    return result


def _flat(values: list[Any]) -> list[Any]:
    return [item for value in values for item in (value if isinstance(value, list) else [value])]


def _expand(value: Any) -> Any:
    """Replace each `@FILE` in a list of paths by the lines of that file: argument lists have a limit of 128 KiB (Linux,
    execve(2), MAX_ARG_STRLEN), which the shards of a large corpus exceed."""
    if not isinstance(value, list):
        return value
    expanded = []
    for item in value:
        if isinstance(item, Path) and str(item).startswith("@"):
            expanded += [Path(line) for line in Path(str(item)[1:]).read_text(encoding="utf-8").splitlines()]
        else:
            expanded.append(item)
    return expanded


def _positional(name: str, function: Callable[..., Any], values: dict[str, Any]) -> list[Any]:
    """Take `--config` out of the values and build the config that the function wants."""
    values.pop("traceback")
    hints = get_type_hints(function)
    given = [values.pop(p.name) for p in inspect.signature(function).parameters.values() if p.kind is p.VAR_POSITIONAL]
    if not is_dataclass(hints.get("config")):
        return [item for items in given for item in items]
    text = values.pop("config")
    from musicgen_core.config.load import ConfigError, from_json, load_config
    from musicgen_core.config.overlay import load_overlay

    cls = _class(hints["config"])
    if text.lstrip().startswith("{"):
        return [from_json(cls, text)]
    root = load_overlay(Path(text)) if name in TOOLS else load_config(Path(text))
    if isinstance(root, cls):
        return [root]
    if name == "scan":
        from musicgen_core.config.root import project_scan

        return [project_scan(root)]
    if name == "generate":
        from musicgen_core.config.root import GenerateStageConfig

        return [GenerateStageConfig(generation=root.generation, num_prompts=root.data.num_prompts)]
    raise ConfigError(f"--config wants this stage's own part as JSON; `snakemake -n -p` prints it for {name}")


def _class(annotation: Any) -> Any:
    assert is_dataclass(annotation), annotation
    return annotation


if __name__ == "__main__":
    sys.exit(main())
