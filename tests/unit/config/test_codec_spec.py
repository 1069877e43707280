import json
import subprocess
import sys
from pathlib import Path

import pytest

from musicgen_core import native
from musicgen_core.config.codec_spec import read_codec_folder, read_codec_spec
from musicgen_core.config.data import EncodecCodecConfig, TinyCodecConfig

REVISION = "0123456789abcdef0123456789abcdef01234567"
MUSICGENS = {
    "model_type": "encodec",
    "sampling_rate": 32_000,
    "upsampling_ratios": [8, 5, 4, 4],
    "codebook_size": 2048,
    "target_bandwidths": [2.2],
}


def _folder(path: Path, config: dict, weights: str = "model.safetensors") -> Path:
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps(config))
    (path / weights).write_bytes(b"weights")
    return path


def _store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hub_id: str = "someone/encodec_32khz") -> Path:
    """A store that holds one asset, as `musicgen fetch` leaves it."""
    monkeypatch.setenv("MUSICGEN_STORE", str(tmp_path / "store"))
    folder = _folder(tmp_path / "store" / hub_id.replace("/", "--") / REVISION, MUSICGENS)
    files = {path.name: native.hash_file(path) for path in folder.iterdir()}
    lock = {"version": 1, "assets": {f"{hub_id}@{REVISION}": {"license": "mit", "files": files}}}
    (tmp_path / "store" / "assets.lock.json").write_text(json.dumps(lock))
    return folder


def test_shipped_codec() -> None:
    spec, folder = read_codec_spec(TinyCodecConfig())
    assert (spec.name, spec.sample_rate_hz, spec.num_codebooks, spec.frame_rate_hz) == ("tiny", 16_000, 4, 50.0)
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors", "provenance.json"}
    assert (folder / "model.safetensors").stat().st_size < 3_000_000


def test_musicgens_encodec(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "encodec 32", MUSICGENS)
    spec, found = read_codec_spec(EncodecCodecConfig(kind="encodec", path=str(folder)))
    assert found == folder
    assert (spec.name, spec.sample_rate_hz, spec.num_channels) == ("encodec_32", 32_000, 1)
    assert (spec.num_codebooks, spec.card, spec.hop_samples, spec.frame_rate_hz) == (4, 2048, 640, 50.0)


def test_keys_left_out_have_transformers_defaults(tmp_path: Path) -> None:
    from transformers import EncodecConfig

    spec, expected = read_codec_folder(_folder(tmp_path / "default", {"model_type": "encodec"})), EncodecConfig()
    assert spec.sample_rate_hz == expected.sampling_rate
    assert spec.num_channels == expected.audio_channels
    assert spec.num_codebooks == expected.num_quantizers == 32
    assert (spec.card, spec.hop_samples) == (expected.codebook_size, expected.hop_length)


def test_digest_follows_config_and_weights_only(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "a", MUSICGENS)
    digest = read_codec_folder(folder).digest
    (folder / "README.md").write_text("words")
    assert read_codec_folder(folder).digest == digest
    (folder / "model.safetensors").write_bytes(b"others")
    assert read_codec_folder(folder).digest != digest


def test_no_torch() -> None:
    code = "import sys; from musicgen_core.config import codec_spec as c; from musicgen_core.config.data import *; "
    code += "c.read_codec_spec(TinyCodecConfig()); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"normalize": True}, "normalize is True"),
        ({"chunk_length_s": 1.0}, "chunk_length_s is 1.0"),
        ({"model_type": "dac"}, "model_type is 'dac', but codec.kind encodec"),
    ],
)
def test_unsuitable_codecs(tmp_path: Path, change: dict, message: str) -> None:
    folder = _folder(tmp_path / "codec", {**MUSICGENS, **change})
    with pytest.raises(ValueError, match=message):
        read_codec_spec(EncodecCodecConfig(kind="encodec", path=str(folder)))


def test_wrong_kind_says_which_to_set(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "codec", MUSICGENS)
    with pytest.raises(ValueError, match=r"set codec.kind: encodec"):
        read_codec_spec(TinyCodecConfig(path=str(folder)))


def test_pickled_weights_are_never_loaded(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "codec", MUSICGENS, weights="pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match=r"pytorch_model.bin is a pickle"):
        read_codec_folder(folder)


def test_absent_and_broken_config(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere"):
        read_codec_spec(EncodecCodecConfig(kind="encodec", path=str(tmp_path / "nowhere")))
    folder = _folder(tmp_path / "codec", MUSICGENS)
    (folder / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config.json: not JSON"):
        read_codec_folder(folder)


def test_hub_id_is_found_in_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = _store(tmp_path, monkeypatch)
    config = EncodecCodecConfig(kind="encodec", path="someone/encodec_32khz", revision=REVISION)
    spec, folder = read_codec_spec(config)
    assert (spec.name, folder) == ("encodec_32khz", expected)
    (folder / "model.safetensors").write_bytes(b"tampered")
    with pytest.raises(ValueError, match=r"model.safetensors: digest .*musicgen fetch"):
        read_codec_spec(config)
    (folder / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="run `musicgen fetch`"):
        read_codec_spec(config)


def test_absent_hub_id_says_fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSICGEN_STORE", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="run `musicgen fetch`"):
        read_codec_spec(EncodecCodecConfig(kind="encodec", path="a/b", revision=REVISION))
    with pytest.raises(FileNotFoundError, match=r"if it is a hub id, set codec.revision"):
        read_codec_spec(EncodecCodecConfig(kind="encodec", path="a/b"))
    with pytest.raises(ValueError, match="'main' of a/b is not pinned"):
        read_codec_spec(EncodecCodecConfig(kind="encodec", path="a/b", revision="main"))


@pytest.mark.parametrize("card", [True, False])
def test_noncommercial_weights_need_consent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, card: bool) -> None:
    folder = _store(tmp_path, monkeypatch, "facebook/encodec_32khz")
    if card:
        (folder / "README.md").write_text("---\ntags: [x]\nlicense: cc-by-nc-4.0\n---\n# EnCodec\n")
    config = {"kind": "encodec", "path": "facebook/encodec_32khz", "revision": REVISION}
    with pytest.raises(ValueError, match=r"codec.accept_noncommercial: true"):
        read_codec_spec(EncodecCodecConfig(**config))
    assert read_codec_spec(EncodecCodecConfig(**config, accept_noncommercial=True))[1] == folder
