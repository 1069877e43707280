"""Memory of batches: whoever holds a buffer keeps it, and what was let go is used again."""

import os
import threading

import pytest
import torch

from musicgen_core.data import buffers

SHAPE = (32, 4, 1500)


@pytest.fixture(autouse=True)
def _nothing_rests() -> None:
    buffers._resting.clear()


@pytest.mark.parametrize("dtype", [torch.int64, torch.float32])
def test_a_buffer_is_a_tensor_like_any_other(dtype: torch.dtype) -> None:
    tensor = buffers.empty(SHAPE, dtype)
    assert (tensor.shape, tensor.dtype, tensor.is_contiguous()) == (SHAPE, dtype, True)
    tensor.fill_(7)
    assert tensor.numpy().flags.writeable
    assert torch.equal(tensor.clone(), torch.full(SHAPE, 7, dtype=dtype))
    assert buffers.empty((2, 3), dtype).shape == (2, 3)
    assert buffers.empty((0, 3), dtype).shape == (0, 3)


@pytest.mark.parametrize("view", [lambda t: t[3], lambda t: t.numpy()[2], lambda t: t.view(-1).numpy()])
def test_memory_is_used_again_only_when_no_view_of_it_lives(view) -> None:
    first = buffers.empty(SHAPE, torch.int64)
    place = first.data_ptr()
    held = view(first)
    held[:] = 5
    del first
    others = [buffers.empty(SHAPE, torch.int64).fill_(9) for _ in range(5)]
    assert (torch.as_tensor(held) == 5).all()
    del held
    assert buffers.empty(SHAPE, torch.int64).data_ptr() == place
    assert place not in [other.data_ptr() for other in others]


def test_what_rests_is_bounded_and_fits() -> None:
    held = [buffers.empty((1000, 100 + n), torch.int64) for n in range(20)]
    held.clear()
    assert len(buffers._resting) == 8
    assert buffers.empty(SHAPE, torch.int64).shape == SHAPE  # none of them fits
    assert buffers.empty((1000, 119), torch.int64).shape == (1000, 119)
    assert len(buffers._resting) == 8


def test_threads_never_share_a_buffer() -> None:
    wrong = []

    def use(number: int) -> None:
        for _ in range(300):
            tensor = buffers.empty((40_000,), torch.int64).fill_(number)
            if not (tensor == number).all():
                wrong.append(number)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_process_has_copies() -> None:
    tensor = buffers.empty(SHAPE, torch.int64).fill_(1)
    child = os.fork()
    if child == 0:
        try:
            tensor.numpy().fill(2)  # torch's threads do not outlive a fork
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert (tensor == 1).all()
