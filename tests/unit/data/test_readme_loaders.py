"""The README's examples of the loaders run as they stand; only the address of the shards is this test's."""

import functools
import http.server
import re
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small_music import make_corpus
from token_corpus import SPEC, write_corpus
from torch.utils.data import DataLoader

from musicgen_core.config.data import CodecSpec
from musicgen_core.config.load import from_json, to_json
from musicgen_core.data.batches import AudioSegments, BatchLoader, TokenDataset
from musicgen_core.data.token_stream import TokenStream
from musicgen_core.data.tracks import open_tracks

README = Path(__file__).parents[3] / "README.md"
NAMES = (Path, DataLoader, CodecSpec, from_json, open_tracks, TokenDataset, AudioSegments, BatchLoader, TokenStream)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A project after `snakemake tokens`, with two shards more on a server."""
    monkeypatch.chdir(tmp_path)
    make_corpus(tmp_path / "music", 5)
    _, index = write_corpus(tmp_path / "results", "demo")
    index.parent.rename(tmp_path / "demo")
    (tmp_path / "results/tokens/made_up-00000000").mkdir(parents=True)
    (tmp_path / "demo").rename(tmp_path / "results/tokens/made_up-00000000/demo")
    (tmp_path / "results/plan").mkdir()
    (tmp_path / "results/plan/codec.json").write_text(to_json(SPEC))
    for number in range(2):
        folder = write_corpus(tmp_path / f"host {number}")[1].parent
        (folder / "00000-of-00001.tar").rename(tmp_path / f"{number:05d}-of-00002.tar")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=tmp_path))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/{{00000..00001}}-of-00002.tar"
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_examples_run(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    section = README.read_text().split("## Use the loaders in your own training loop")[1].split("\n## ")[0]
    blocks = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert len(blocks) == 3
    scope: dict[str, Any] = {thing.__name__: thing for thing in NAMES}
    shown = []
    for block in blocks:
        assert len(block.splitlines()) <= 8
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: fork in a process with threads
            warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)  # more workers than cores
            exec(re.sub(r'^url = "\S+"', f'url = "{address}"', block), scope)
        shown.append(capsys.readouterr().out)
    assert shown[0].startswith("torch.Size([4, 4, 50]) ['pace ")
    assert shown[1].startswith("torch.Size([4, 1, 16000]) tensor(64000) ")
    assert shown[2].startswith("torch.Size([4, 4, 50]) tensor([50, 50, 50, 50]) ")
