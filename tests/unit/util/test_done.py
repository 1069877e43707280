from pathlib import Path

import pytest

from musicgen_core.util.done import read_done, write_done
from musicgen_core.util.receipt import compare


def test_a_marker_seals_the_run(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "history.jsonl").write_text('{"step": 1}\n')
    write_done(tmp_path, {"steps": 1})
    sealed = read_done(tmp_path)
    assert {path.name: compare(path, seal, thorough=True) for path, seal in sealed.items()} == {
        "config.json": None,
        "history.jsonl": None,
    }
    (tmp_path / "history.jsonl").write_text('{"step": 2}\n')
    assert "altered" in str(compare(tmp_path / "history.jsonl", sealed[tmp_path / "history.jsonl"], thorough=True))
    text = (tmp_path / "DONE").read_text()
    for damaged, message in [
        (text[:-20], "is torn"),
        ("[]", "is torn"),
        ('{"files": {"config.json": 3}}', "is torn"),
        (text.replace('"steps": 1', '"steps": 2'), "it was altered"),
    ]:
        (tmp_path / "DONE").write_text(damaged)
        with pytest.raises(ValueError, match=message):
            read_done(tmp_path)
    (tmp_path / "DONE").write_text('{"steps": 4}')
    assert read_done(tmp_path) == {}, "of a version that sealed nothing"
