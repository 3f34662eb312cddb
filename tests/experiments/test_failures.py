import errno
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from experiments.failures import HINT, explained, is_out_of_memory, undisturbed
from lightning_modules.errors import ImpastoError

CPU = (
    "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 9"
)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has ..."),
        RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError(CPU),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ],
)
def test_memory_that_does_not_suffice_is_told(error):
    assert is_out_of_memory(error)
    assert "smaller" in explained(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("could not create a memory object"),
        RuntimeError("unsupported memory format option"),
        ValueError("out of memory"),
    ],
)
def test_other_trouble_with_memory_is_not_taken_for_it(error):
    assert not is_out_of_memory(error)
    assert explained(error).endswith(f"({HINT}).")


def test_the_allocator_says_what_we_look_for():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    assert is_out_of_memory(caught.value)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "The disk is full: runs/a cannot be written"),
        (errno.EROFS, "The disk is read-only: runs/a"),
        (errno.EACCES, "no permission for runs/a"),
        (errno.ENOTDIR, "a file stands where a folder should be"),
        (errno.ENOENT, "There is no runs/a."),
    ],
)
def test_what_the_disk_refuses_is_one_sentence(number, words):
    assert words in explained(OSError(number, "as the kernel says it", "runs/a"))


def test_a_temporary_name_is_not_shown():
    assert "runs/a cannot" in explained(OSError(errno.ENOSPC, "full", "runs/a/.3f2a.json"))
    assert "a file cannot" in explained(OSError(errno.ENOSPC, "full"))


def test_the_reason_behind_a_failure_counts():
    error = RuntimeError("pages of something")
    error.__cause__ = ImpastoError("Do this instead.")
    assert explained(error) == "Do this instead."


def test_what_a_worker_of_a_loader_met_is_its_last_line():
    text = "Caught ImpastoError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n  File\n"
    assert explained(ImpastoError(text + "lightning_modules.errors.ImpastoError: Do this.\n")) == "Do this."


def test_lightnings_own_words_and_what_nobody_knows():
    assert explained(MisconfigurationException("Choose one.\nDetails")) == "Choose one."
    assert explained(ZeroDivisionError("division by zero")) == f"ZeroDivisionError: division by zero ({HINT})."
    assert "cut off" in explained(RuntimeError("PytorchStreamReader failed reading zip archive: not a ZIP archive"))


def test_last_words_may_be_said_in_any_thread():
    def speak():
        with undisturbed():
            return "said"

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(speak).result() == "said"
