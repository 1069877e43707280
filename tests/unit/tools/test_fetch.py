import fnmatch
import json
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from musicgen_core.config.load import parse_config, resolve_runs
from musicgen_core.config.root import RootConfig
from musicgen_core.config.source import digest_source, find_source
from musicgen_core.config.start import InitFromConfig
from musicgen_core.config.store import resolve_asset
from musicgen_core.tools import fetch

CODEC_REVISION, T5_REVISION, MUSICGEN_REVISION = "a" * 40, "b" * 40, "c" * 40
ENCODEC = {"model_type": "encodec", "sampling_rate": 32_000, "upsampling_ratios": [8, 5, 4, 4], "codebook_size": 2048}
HUB = {
    ("facebook/encodec_32khz", CODEC_REVISION): {
        "README.md": "---\nlicense: cc-by-nc-4.0\n---\n",
        "config.json": json.dumps({**ENCODEC, "target_bandwidths": [2.2]}),
        "model.safetensors": "weights",
        "pytorch_model.bin": "a pickle",
        "onnx/config.json": "{}",
    },
    ("facebook/musicgen-small", MUSICGEN_REVISION): {
        "README.md": "---\nlicense: cc-by-nc-4.0\n---\n",
        "config.json": '{"model_type": "musicgen"}',
        "model.safetensors": "a whole model",
        "state_dict.bin": "a pickle",
    },
    ("google-t5/t5-base", T5_REVISION): {"README.md": "---\nlicense: apache-2.0\n---\n", "config.json": "{}"},
}


class FakeHub:
    """Stands in for huggingface_hub.snapshot_download; counts its calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.files = {key: dict(value) for key, value in HUB.items()}

    def download(
        self, hub_id: str, *, revision: str, local_dir: Path, allow_patterns: list[str], ignore_patterns: list[str]
    ) -> str:
        self.calls.append((hub_id, revision))
        for name, text in self.files[hub_id, revision].items():
            allowed = any(fnmatch.fnmatch(name, pattern) for pattern in allow_patterns)
            if allowed and not any(fnmatch.fnmatch(name, pattern) for pattern in ignore_patterns):
                (local_dir / name).write_text(text)
        (local_dir / ".cache").mkdir(exist_ok=True)
        return str(local_dir)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    hub = FakeHub()
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub.download)
    monkeypatch.setenv("MUSICGEN_STORE", str(tmp_path / "store"))
    return hub


def _config(**codec: object) -> RootConfig:
    return parse_config(
        {
            "corpora": {"mine": {"path": "music"}},
            "codec": {
                "kind": "encodec",
                "path": "facebook/encodec_32khz",
                "revision": CODEC_REVISION,
                "accept_noncommercial": True,
                **codec,
            },
            "runs": {
                "lut": {},
                "t5": {"conditioner": {"kind": "t5", "path": "google-t5/t5-base", "revision": T5_REVISION}},
            },
        }
    )


def test_codec_and_the_conditioners_of_runs(hub: FakeHub, tmp_path: Path) -> None:
    fetch.run(_config())
    folder = tmp_path / "store" / "facebook--encodec_32khz" / CODEC_REVISION
    assert {path.name for path in folder.iterdir()} == {"README.md", "config.json", "model.safetensors"}
    assert resolve_asset("google-t5/t5-base", T5_REVISION, "conditioner.path").is_dir()
    lock = json.loads((tmp_path / "store" / "assets.lock.json").read_text())
    entry = lock["assets"][f"facebook/encodec_32khz@{CODEC_REVISION}"]
    assert entry["license"] == "cc-by-nc-4.0"
    assert all(len(digest) == 32 for digest in entry["files"].values())


def test_weights_that_a_run_starts_from(hub: FakeHub, tmp_path: Path) -> None:
    start = {"path": "facebook/musicgen-small", "revision": MUSICGEN_REVISION}
    raw: dict[str, Any] = {
        "corpora": {"mine": {"path": "music"}},
        "runs": {"base": {}, "tuned": {"training": {"init_from": start}}},
    }
    with pytest.raises(ValueError, match=r"Set training\.init_from\.accept_noncommercial: true to accept"):
        fetch.run(parse_config(raw))
    start["accept_noncommercial"] = True  # type: ignore[assignment]
    init = resolve_runs(parse_config(raw))["tuned"].training.init_from
    assert init is not None
    with pytest.raises(FileNotFoundError, match=r"facebook/musicgen-small@cccccccc is not in .*run `musicgen fetch`"):
        digest_source(init)
    fetch.run(parse_config(raw))
    folder = find_source(init)
    assert {path.name for path in folder.iterdir()} == {"README.md", "config.json", "model.safetensors"}
    digest = digest_source(init)
    hub.calls.clear()
    assert digest_source(InitFromConfig(path=str(folder))) == digest, "by content, wherever it lies"
    assert hub.calls == []


def test_second_call_downloads_nothing(hub: FakeHub) -> None:
    fetch.run(_config())
    calls = len(hub.calls)
    fetch.run(_config())
    assert len(hub.calls) == calls


def test_damaged_file_is_fetched_again(hub: FakeHub, tmp_path: Path) -> None:
    fetch.run(_config())
    path = tmp_path / "store" / "facebook--encodec_32khz" / CODEC_REVISION / "model.safetensors"
    path.write_text("damaged")
    fetch.run(_config())
    assert path.read_text() == "weights"


def test_other_bytes_under_a_pinned_revision_are_refused(hub: FakeHub, tmp_path: Path) -> None:
    fetch.run(_config())
    hub.files["facebook/encodec_32khz", CODEC_REVISION]["model.safetensors"] = "replaced"
    (tmp_path / "store" / "facebook--encodec_32khz" / CODEC_REVISION / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"1 of 3 files differ .*model.safetensors"):
        fetch.run(_config())


def test_noncommercial_weights_are_not_even_downloaded(hub: FakeHub, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"codec.accept_noncommercial: true"):
        fetch.run(_config(accept_noncommercial=False))
    assert not list(tmp_path.rglob("model.safetensors"))


@pytest.mark.parametrize(("revision", "message"), [("main", "not pinned"), ("v1.0", "not pinned"), (None, "revision")])
def test_unpinned_revision_is_refused(hub: FakeHub, revision: str | None, message: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        fetch.run(_config(revision=revision))
    assert hub.calls == []


def test_unreachable_hub_says_what_to_do(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> str:
        raise RuntimeError("no route")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(OSError, match=r"codec.path: .*no route.*copy the files by hand"):
        fetch.run(_config())


def test_nothing_to_fetch(capsys: pytest.CaptureFixture[str]) -> None:
    fetch.run(parse_config({"corpora": {"mine": {"path": "music"}}}))
    assert "nothing to fetch" in capsys.readouterr().err


def test_the_extractor_of_a_style_is_an_asset(tmp_path: Path) -> None:
    def assets(**more: Any) -> list[fetch.Asset]:
        extractor = {"kind": "transformers", "path": "m-a-p/MERT-v1-95M", "revision": "d" * 40, **more}
        style = {"kind": "style", "extractor": extractor}
        raw = {"corpora": {"mine": {"path": "music"}}, "model": {"conditions": {"style": style}}}
        return fetch.list_assets(parse_config(raw))

    (asset,) = assets(accept_noncommercial=True)
    assert (asset.hub_id, asset.revision, asset.accept_noncommercial) == ("m-a-p/MERT-v1-95M", "d" * 40, True)
    assert asset.accept_key == "model.conditions.style.extractor.accept_noncommercial"
    assert not assets()[0].accept_noncommercial
    assert assets(path=str(tmp_path), revision=None) == []
