"""Projects for the tests of the workflow."""

from pathlib import Path

import pytest
from small_music import make_codec
from small_project import Project, make_project


@pytest.fixture(scope="session")
def codec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_codec(tmp_path_factory.mktemp("codec") / "random")


@pytest.fixture
def project(tmp_path: Path, codec: Path) -> Project:
    """Nothing has run yet."""
    return make_project(tmp_path / "project", codec)
