"""The report: whole, self-contained, escaped, honest about what is missing."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from musicgen_core.config.root import ReportStageConfig
from musicgen_core.data.manifest import ManifestRecord
from musicgen_core.stages import report
from musicgen_core.util.atomic import write_json, write_jsonl

RATE = 16_000
EVIL = "<script>alert(1)</script> & \"quoted\" 'ünïcode'"


def tone(hz: float, seconds: float, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    time = np.arange(int(RATE * seconds)) / RATE
    beat = np.exp(-8 * (time % 0.5))
    return (0.4 * beat * np.sin(2 * np.pi * hz * time) + 0.05 * random.normal(size=len(time)) * beat).astype(np.float32)


def figure(value: Any, unit: str = "nats per token", **more: Any) -> dict[str, Any]:
    return {"value": value, "unit": unit, "samples": {"segments": 12, "tracks": 5, "tokens": 47812}, **more}


def make_figures() -> dict[str, Any]:
    model, train, own = [2.9, 3.6, 3.9, 4.1], [4.2, 4.9, 5.1, 5.2], [3.9, 4.6, 4.8, 4.9]
    return {
        "token_loss": {
            "model": figure(float(np.mean(model)), interval_95=[3.51, 3.74], note="Cross-entropy."),
            "model_per_codebook": figure(model),
            "perplexity": figure(float(np.exp(np.mean(model))), "codes"),
            "perplexity_per_codebook": figure(np.exp(model).tolist(), "codes"),
            "unigram": figure(float(np.mean(train))),
            "unigram_per_codebook": figure(train),
            "own_unigram": figure(float(np.mean(own))),
            "own_unigram_per_codebook": figure(own),
            "below_unigram": figure(1.22, interval_95=[1.0, 1.4]),
            "below_own_unigram": figure(0.92, interval_95=[0.7, 1.1]),
            "right_caption_gain": figure(0.084, interval_95=[0.02, 0.12]),
        },
        "frechet": {
            name: {
                "value": value,
                "unit": "squared latent units",
                "samples": {"clips": 5, "frames": 2000, "reference_frames": 9600, "dimensions": 64},
            }
            for name, value in {"samples": 12.31, "halves": 4.02, "codec": 1.13, "noise": 71.8}.items()
        },
        "round_trip": {
            name: {"value": value, "unit": "dB", "samples": {"pieces": 12, "silent_pieces": 0, "seconds": 60}}
            for name, value in {"si_snr_db": 7.91, "log_mel_db": 3.62, "log_stft_db": 6.7}.items()
        },
        "adherence": {
            name: {"value": value, "unit": unit, "samples": {"captions": 4, "draws_per_caption": 4}}
            for name, value, unit in [
                ("differing_same_seed", 0.931, "share of codes"),
                ("ratio", 1.21, "times"),
                ("p_value", 0.003, "probability"),
            ]
        },
    }


def make_record(number: int, split: str) -> dict[str, Any]:
    record = dict.fromkeys(ManifestRecord.__dataclass_fields__, None)
    return record | {
        "path": f"album {number}/<b>song</b> {number}.flac",
        "duration": 93.4,
        "sample_rate": 44100,
        "title": f"Song No. {number}" if number % 3 else None,
        "artist": "Björk & <i>Sons</i>",
        "track": f"{number:032x}",
        "corpus": "mine",
        "split": split,
        "bucket": "00000-of-00004",
        "caption": EVIL if number % 2 else None,
        "license": ["CC0-1.0", "CC-BY-NC-3.0", None][number % 3],
        "num_samples": 1,
    }


def make_run(folder: Path, num_samples: int = 2, num_clips: int = 1) -> dict[str, Any]:
    """A run's folder as the other stages leave it; -> the arguments of report.run."""
    run_dir, manifest, plan = folder / "runs/base-0123abcd", folder / "manifest/mine", folder / "plan/mine"
    run_dir.mkdir(parents=True)
    write_json(
        run_dir / "config.json",
        {
            "seed": 1,
            "training": {"steps": 400},
            "versions": {"python": "3.11.7"},
            "digests": {"manifests": {"m": "ab"}},
        },
    )
    history: list[dict[str, Any]] = []
    for step in range(10, 401, 10):
        loss = 3.6 + 3.3 * np.exp(-step / 90)
        history.append(
            {"kind": "train", "step": step, "loss": loss + 0.08 * np.sin(step), "loss_per_codebook": [loss] * 4}
        )
        if step % 100 == 0:
            history.append(
                {
                    "kind": "valid",
                    "step": step,
                    "loss": loss + 0.1,
                    "loss_per_codebook": [loss + k / 5 for k in range(4)],
                }
            )
    write_jsonl(run_dir / "history.jsonl", history)
    write_json(run_dir / "DONE", {"steps": 400, "best_step": 400, "seconds": 214.3})
    write_json(
        run_dir / "export/config.json",
        {"model": {"size": "tiny", "dim": 128, "num_layers": 4, "num_heads": 4}, "step": 400},
    )
    codec = {
        "name": "tiny", "digest": "c" * 32, "sample_rate_hz": RATE, "num_channels": 1, "num_codebooks": 4, "card": 1024,
        "hop_samples": 320,
    }  # fmt: skip
    write_json(
        run_dir / "metrics.json",
        {
            "codec": codec,
            "model": {"weights_digest": "d" * 32, "step": 400},
            "versions": {"musicgen_core": "0.1.0"},
            "figures": make_figures(),
        },
    )
    samples = []
    (run_dir / "samples").mkdir()
    for number in range(num_samples):
        soundfile.write(run_dir / f"samples/{number:03d}.wav", tone(220 * (number + 1), 3, number), RATE)
        samples.append(
            {
                "file": f"{number:03d}.wav", "prompt": EVIL if number else None, "source": "held-out", "seed": 0,
                "duration_sec": 8.0, "top_k": 250, "top_p": 0.0, "temperature": 1.0, "cfg_coef": 3.0,
            }
        )  # fmt: skip
    write_json(run_dir / "samples/samples.json", samples)
    (run_dir / "references").mkdir()
    clips = []
    for number in range(num_clips):
        names = [f"{number}.original.flac", f"{number}.reconstruction.flac"]
        for name in names:
            soundfile.write(run_dir / "references" / name, tone(330, 2, number), RATE)
        clips.append(
            {
                "original": names[0], "reconstruction": names[1], "track": "0" * 32, "corpus": "mine",
                "path": "a/b.flac", "title": "A held-out waltz", "artist": EVIL, "license": "CC0-1.0",
                "caption": EVIL, "start_sec": 5.0, "duration_sec": 5.0,
            }
        )  # fmt: skip
    write_json(run_dir / "references/references.json", clips)
    for split, numbers in {"train": range(9), "valid": range(9, 10), "evaluate": range(10, 12)}.items():
        write_jsonl(manifest / f"{split}.jsonl", [make_record(n, split) for n in numbers])
    write_jsonl(
        manifest / "rejected.jsonl",
        [{"path": "quiet.wav", "reason": "silent", "detail": "never above -71.2 dBFS", "corpus": "mine"}],
    )
    write_jsonl(
        plan / "inventory.jsonl",
        [
            {"path": "text.mp3", "status": "rejected", "reason": "unreadable", "detail": f"not audio {EVIL}"},
            {"path": "good.mp3", "status": "used"},
            {"path": "cover.bin", "status": "ignored", "reason": "not_music"},
        ],
    )
    return {
        "run_dir": run_dir,
        "manifests": [manifest],
        "inventories": [plan / "inventory.jsonl"],
        "out": run_dir / "report.html",
    }


class Page(HTMLParser):
    """What the browser would see: tags with attributes, and text outside of style and script."""

    VOID = frozenset({"meta", "img", "rect", "path", "circle", "br"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.text += data

    def find(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def arguments(tmp_path: Path) -> dict[str, Any]:
    return make_run(tmp_path)


def render(arguments: dict[str, Any]) -> tuple[str, Page]:
    report.run(ReportStageConfig(), **arguments)
    html = arguments["out"].read_text()
    return html, Page(html)


def test_page_is_whole_and_well_formed(arguments: dict[str, Any]) -> None:
    html, page = render(arguments)
    assert page.open == []
    assert len(page.find("audio")) == 2 + 2
    assert len(page.find("img")) == 4
    for section in ("samples", "references", "curves", "figures", "corpus", "details"):
        assert f'<section id="{section}"' in html
    assert page.find("h1")
    assert "base" in page.text
    assert "400 steps in 3 min 34 s" in page.text


def test_nothing_is_loaded_from_elsewhere(arguments: dict[str, Any]) -> None:
    html, page = render(arguments)
    assert not re.search(r"(https?:)?//[a-z]", re.sub(r"base64,[A-Za-z0-9+/=]+", "", html))
    for tag, attributes in page.tags:
        for name in ("src", "href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:")), tag
    policy = next(a["content"] for a in page.find("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    for tag in ("style", "script"):
        inner = re.search(f"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        assert inner is not None
        assert base64.b64encode(hashlib.sha256(inner[1].encode()).digest()).decode() in policy
    assert "unsafe" not in policy


def test_words_of_others_are_escaped(arguments: dict[str, Any]) -> None:
    html, page = render(arguments)
    assert len(page.find("script")) == 1
    assert "<script>alert" not in html
    assert not page.find("b")
    assert not page.find("i")
    assert EVIL in page.text, "yet they can be read"
    assert any(EVIL in (attributes.get("alt") or "") for attributes in page.find("img"))


def test_everything_can_be_perceived_without_sight_or_mouse(arguments: dict[str, Any]) -> None:
    _, page = render(arguments)
    assert all(attributes.get("alt") for attributes in page.find("img"))
    assert all(attributes.get("aria-label") and "controls" in attributes for attributes in page.find("audio"))
    assert page.find("html")[0]["lang"] == "en"
    labels = [attributes["aria-labelledby"] for attributes in page.find("section") if "aria-labelledby" in attributes]
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert set(labels) <= set(ids)
    assert len(ids) == len(set(ids))


def test_corpus_is_told_in_full(arguments: dict[str, Any]) -> None:
    _, page = render(arguments)
    for fact in ("quiet.wav", "never above -71.2 dBFS", "text.mp3", "CC-BY-NC-3.0", "non-commercial", "not stated"):
        assert fact in page.text
    assert "good.mp3" not in page.text
    assert "Held-out figures rest on 5 tracks only" in page.text


def test_an_unfinished_run_says_so(arguments: dict[str, Any]) -> None:
    (arguments["run_dir"] / "DONE").unlink()
    _, page = render(arguments)
    assert "Not finished" in page.text
    assert "400 of 400 steps" in page.text


def test_what_was_not_measured_is_said_not_shown_as_zero(arguments: dict[str, Any]) -> None:
    path = arguments["run_dir"] / "metrics.json"
    metrics = json.loads(path.read_text())
    reason = "the evaluate split holds 1 different captions"
    metrics["figures"]["adherence"] = {
        "between_captions": {"value": None, "unit": "bits", "samples": {}, "note": reason}
    }
    metrics["figures"]["frechet"]["halves"] |= {"value": None, "samples": {}}
    metrics["figures"]["token_loss"]["below_unigram"]["value"] = -0.2
    metrics["figures"]["token_loss"]["below_own_unigram"] = figure(-0.5)
    write_json(path, metrics)
    _, page = render(arguments)
    assert reason in page.text
    assert "No: not below code frequency" in page.text


def test_two_reports_are_the_same_bytes(arguments: dict[str, Any]) -> None:
    first, _ = render(arguments)
    second, _ = render(arguments)
    assert first == second


def test_page_stays_small(arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    full, _ = render(arguments)
    monkeypatch.setattr("musicgen_core.eval.report.players.AUDIO_BUDGET_BYTES", 30_000)
    small, page = render(arguments)
    assert len(small) < len(full)
    assert "audio/mpeg" in small
    assert "Left out to keep this page small" in page.text


def test_a_missing_file_is_named(arguments: dict[str, Any]) -> None:
    (arguments["run_dir"] / "metrics.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"metrics\.json"):
        render(arguments)


def test_a_damaged_file_is_named(arguments: dict[str, Any]) -> None:
    (arguments["run_dir"] / "samples/samples.json").write_text("[{}]")
    with pytest.raises(ValueError, match=r"samples\.json.*re-run the generate stage"):
        render(arguments)
