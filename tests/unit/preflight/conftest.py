import shutil
from pathlib import Path

import pytest
from small_preflight import SmallProject, make_small_project

from musicgen_core.preflight.material import Material, open_material


@pytest.fixture(scope="session")
def sound_project(tmp_path_factory: pytest.TempPathFactory) -> SmallProject:
    """A corpus without fault; never written to."""
    project = make_small_project(tmp_path_factory.mktemp("preflight") / "home")
    project.prepare()
    return project


@pytest.fixture
def project(sound_project: SmallProject, tmp_path: Path) -> SmallProject:
    """A copy of it, to do harm to."""
    shutil.copytree(sound_project.home, tmp_path / "home")
    return SmallProject(tmp_path / "home", sound_project.config)


@pytest.fixture(scope="session")
def sound(sound_project: SmallProject) -> Material:
    return open_material(sound_project.root, None, "cpu")
