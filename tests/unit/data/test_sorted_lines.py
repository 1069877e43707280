"""Finding and replacing lines of a sorted file against a dictionary."""

import json
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from musicgen_core.data.sorted_lines import SortedLines

keys = st.text(st.sampled_from('ab"\n\\ñ\U0001f3b5'), min_size=1, max_size=4)


def write(path: Path, lines: dict[str, int], header: bool) -> None:
    first = ['{"version": 1}\n'] if header else []
    path.write_text("".join([*first, *(encode(key, lines[key]) + "\n" for key in sorted(lines))]), encoding="utf-8")


def encode(key: str, value: int) -> str:
    return json.dumps([key, value], ensure_ascii=False)


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(keys, st.integers(), max_size=12), st.dictionaries(keys, st.none() | st.integers()), st.booleans()
)
def test_find_and_splice_equal_a_dictionary(lines: dict[str, int], edits: dict[str, int | None], header: bool) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        path, expected = Path(scratch) / "lines", Path(scratch) / "expected"
        write(path, lines, header)
        opened = SortedLines(path, lambda line: line[0], header)
        for key in {*lines, *edits, "z"}:
            assert opened.find(key) == ([key, lines[key]] if key in lines else None)
        opened.splice({key: None if value is None else encode(key, value) for key, value in edits.items()})
        after = {key: value for key, value in (lines | edits).items() if value is not None}
        write(expected, after, header)
        assert path.read_bytes() == expected.read_bytes()
        assert [line[1] for line in opened.first_with(", ", 2)] == [lines[key] for key in sorted(lines)][:2]
