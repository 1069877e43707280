"""The recordings that prompts and continuations name: are they there? Asked before anything is computed."""

from __future__ import annotations

from pathlib import Path

from musicgen_core.config.evaluation import GenerationConfig
from musicgen_core.config.prompt import PromptConfig


def find_recordings(config: GenerationConfig) -> list[str]:
    """Paths of all of them, each once. FileNotFoundError or ValueError names the file, who asks for it, the remedy."""
    named = []
    for number, prompt in enumerate(config.prompts):
        if isinstance(prompt, PromptConfig):
            shown = f"generation.prompts.{number} ({prompt.text!r})" if prompt.text else f"generation.prompts.{number}"
            named += [(shown, key, path) for key, (path, _) in prompt.recordings.items()]
    for number, item in enumerate(config.continuations):
        named.append((f"generation.continuations.{number}", "audio", item.audio))
    for shown, key, name in named:
        path = Path(name)
        if path.is_dir():
            raise ValueError(f"{shown}: its {key} {path} is a folder; name one audio file in it")
        if not path.is_file():
            raise FileNotFoundError(
                f"{shown}: its {key} {path} is not there (looked in {path.absolute().parent}); correct the path, bring "
                "the file, or take it out of the config"
            )
    return list(dict.fromkeys(path for _, _, path in named))
