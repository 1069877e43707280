"""The command line: light to start, one line per error."""

import errno
import subprocess
import sys

import pytest

from musicgen_core import cli
from musicgen_core.stages import STAGES


def test_help_lists_every_stage_and_tool(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    shown = capsys.readouterr().out
    for name in [*STAGES, *cli.TOOLS]:
        assert f"  {name}" in shown


def test_unknown_command_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["trian"]) == 2
    assert "no command `trian`" in capsys.readouterr().err


@pytest.mark.parametrize("name", [*STAGES, *cli.TOOLS])
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main([name, "--help"])
    assert caught.value.code == 0
    assert f"usage: musicgen {name}" in capsys.readouterr().out


def test_bad_config_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["index", "--config", '{"codec_digst": "x"}', "--shards", "a", "--out", "b"]) == 1
    shown = capsys.readouterr().err.strip()
    assert shown == "musicgen index: error: unknown key `codec_digst`; did you mean `codec_digest`?"


def test_an_interrupt_while_a_stage_is_imported_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_function", interrupt)
    assert cli.main(["report"]) == 130
    assert capsys.readouterr().err.startswith("musicgen report: interrupted")


def test_a_full_disk_says_so(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "results/a.tar")

    monkeypatch.setattr(cli, "_function", lambda name: fail)
    assert cli.main(["doctor"]) == 1
    assert capsys.readouterr().err.startswith("musicgen doctor: error: results/a.tar: the disk is full")


@pytest.mark.parametrize(
    "code",
    [
        "import musicgen_core",
        "import musicgen_core.config.load",
        "from musicgen_core.cli import main; main(['--help'])",
    ],
)
def test_light_imports(code: str) -> None:
    heavy = "{'torch', 'transformers', 'torchaudio', 'encodec', 'matplotlib', 'numpy'} & set(sys.modules)"
    script = f"import sys\n{code}\nprint('heavy:', {heavy})"
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert shown.rstrip().endswith("heavy: set()")


SWALLOWED = """
import sys, time
from musicgen_core import cli

class Swallows:
    def __del__(self):
        raise {stop}  # Python only reports what a destructor raises

def work():
    Swallows()
    time.sleep(30)

cli._function = lambda name: work
sys.exit(cli.main(["doctor"]))
"""


@pytest.mark.parametrize(("stop", "status"), [("KeyboardInterrupt", 130), ("SystemExit(143)", 143)])
def test_a_stop_that_a_destructor_swallowed_is_delivered_again(stop: str, status: int) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", SWALLOWED.format(stop=stop)], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == status, ended.stderr
    assert "Traceback" not in ended.stderr
