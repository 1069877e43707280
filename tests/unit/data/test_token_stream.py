"""Token shards by URL and pipe: the same codes as from the files, whole or an error."""

import functools
import http.server
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from token_corpus import SPEC, write_shard

from musicgen_core import native
from musicgen_core.data.token_stream import TokenStream

TRACKS = {
    native.hash_bytes(str(n).encode()): np.random.default_rng(n).integers(0, 64, (4, 40 + n)).astype(np.uint16)
    for n in range(20)
}


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    keys = sorted(TRACKS)
    for number in range(4):
        write_shard(tmp_path / f"{number:05d}-of-00004.tar", {key: TRACKS[key] for key in keys[number::4]})
    return tmp_path


@pytest.fixture
def address(folder: Path) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=folder))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def _codes(stream: TokenStream) -> dict[str, np.ndarray]:
    return {sample["key"]: sample["codes_KT"].numpy() for sample in stream}


def test_http_gives_every_track_whole(address: str) -> None:
    found = _codes(TokenStream(address + "/{00000..00003}-of-00004.tar", SPEC))
    assert found.keys() == TRACKS.keys()
    for key, codes_KT in TRACKS.items():
        np.testing.assert_array_equal(found[key], codes_KT)


def test_a_pipe_is_a_shard_too(folder: Path) -> None:
    found = _codes(TokenStream([f"pipe:cat {folder}/00001-of-00004.tar"], SPEC))
    assert found.keys() == set(sorted(TRACKS)[1::4])


@pytest.mark.skipif(shutil.which("gzip") is None, reason="needs gzip")
def test_a_compressing_pipe(folder: Path) -> None:
    found = _codes(TokenStream([f"pipe:gzip -c {folder}/00001-of-00004.tar | gzip -dc"], SPEC))
    assert found.keys() == set(sorted(TRACKS)[1::4])


def test_segments_are_a_function_of_seed_epoch_and_key(folder: Path) -> None:
    urls = [str(path) for path in sorted(folder.glob("*.tar"))]
    stream = TokenStream(urls, SPEC, segment_frames=8, seed=3)
    first = _codes(stream)
    backwards = _codes(TokenStream(urls[::-1], SPEC, segment_frames=8, seed=3))
    assert all(np.array_equal(first[key], backwards[key]) for key in TRACKS)
    stream.epoch = 1
    assert sum(not np.array_equal(first[key], codes) for key, codes in _codes(stream).items()) > 10
    for key, codes_KT in first.items():
        windows = np.lib.stride_tricks.sliding_window_view(TRACKS[key], 8, axis=1)
        assert any(np.array_equal(codes_KT, windows[:, start]) for start in range(windows.shape[1]))


def test_a_short_track_is_padded_and_says_so(folder: Path) -> None:
    for sample in TokenStream([str(folder / "00000-of-00004.tar")], SPEC, segment_frames=100):
        assert sample["num_valid"] == TRACKS[sample["key"]].shape[1]
        assert (sample["codes_KT"][:, sample["num_valid"] :] == SPEC.card).all()


def test_workers_share_the_shards(address: str) -> None:
    stream = TokenStream(address + "/{00000..00003}-of-00004.tar", SPEC, segment_frames=8)
    loader = torch.utils.data.DataLoader(stream, batch_size=3, num_workers=2, multiprocessing_context="spawn")
    keys = [key for batch in loader for key in batch["key"]]
    assert sorted(keys) == sorted(TRACKS)


@pytest.mark.parametrize("where", ["member", "header", "data", "end"])
def test_a_shard_cut_short_is_an_error(folder: Path, where: str) -> None:
    path = folder / "00002-of-00004.tar"
    whole = path.read_bytes()
    second = whole.index(sorted(TRACKS)[6].encode())  # the header of the second track's first member
    size = {"member": second, "header": second + 100, "data": second + 520, "end": len(whole) - 10_240}[where]
    path.write_bytes(whole[:size])
    with pytest.raises(ValueError, match=r"00002-of-00004\.tar: .*"):
        _codes(TokenStream([str(path)], SPEC))


@pytest.mark.parametrize("name", ["missing", "refused", "failing pipe", "not a tar"])
def test_what_cannot_be_read_is_named(address: str, folder: Path, name: str) -> None:
    (folder / "page.tar").write_text("<html>not a tar</html>" * 100)
    url = {
        "missing": f"{address}/missing.tar",
        "refused": str(folder / "none.tar"),
        "failing pipe": "pipe:exit 3",
        "not a tar": f"{address}/page.tar",
    }[name]
    with pytest.raises(ValueError, match="check that the shard is there and whole"):
        _codes(TokenStream([url], SPEC))


def test_codes_of_another_codec_are_refused(folder: Path) -> None:
    import dataclasses

    urls = [str(folder / "00000-of-00004.tar")]
    for change, words in [
        ({"digest": "1" * 32}, "tokenise again"),
        ({"num_codebooks": 8}, r"not uint16 \[8, T\]"),
        ({"card": 10}, "but the codec has 10"),
    ]:
        with pytest.raises(ValueError, match=words):
            _codes(TokenStream(urls, dataclasses.replace(SPEC, **change)))


def test_other_tars_are_refused(tmp_path: Path) -> None:
    from musicgen_core.data.shard_write import open_shard

    with open_shard(tmp_path / "words.tar") as shard:
        shard.add("a.txt", b"words")
    with pytest.raises(ValueError, match="is this a token shard"):
        _codes(TokenStream([str(tmp_path / "words.tar")], SPEC))
