import pytest
from hypothesis import given
from hypothesis import strategies as st

from musicgen_core.config.batching import check_batch, micro_batch
from musicgen_core.config.training import TrainingConfig


@given(st.integers(1, 64), st.one_of(st.none(), st.integers(1, 16)), st.integers(1, 16))
def test_a_batch_is_allowed_exactly_when_it_can_be_cut(batch: int, micro: int | None, processes: int) -> None:
    training = TrainingConfig(batch_size=batch, micro_batch_size=micro)
    size = micro_batch(training, processes)
    fits = any(processes * rounds * size == batch for rounds in range(1, batch + 1))
    if fits:
        check_batch(training, processes)
    else:
        with pytest.raises(ValueError, match=f"batch_size {batch} is not a multiple of {processes * size} = "):
            check_batch(training, processes)
