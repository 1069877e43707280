import pytest
from small_models import make_model

from musicgen_core.lm.model import LanguageModel


@pytest.fixture(scope="session")
def model() -> LanguageModel:
    return make_model()
