import os
import signal

import numpy as np
import pytest
import torch
from lightning.fabric.utilities.apply_func import move_data_to_device
from torch.utils.data import Dataset

from datamodules.batches import ArtistBatches, PaintingBatches, ResumableLoader, Sample, collate
from datamodules.orders import TOGETHER
from lightning_modules.errors import ImpastoError
from lightning_modules.types import StyleBatch


def _batches(**changes):
    options = {"batch_size": 6, "artists_per_batch": 3, "batches_per_epoch": 5, "seed": 1} | changes
    return ArtistBatches([4, 2, 1, 9], 12, **options)


def test_every_batch_is_artists_times_contents():
    for batch in _batches():
        artists = [draw.artist for draw in batch]
        assert len(set(artists)) == 3
        assert artists[0::2] == artists[1::2]  # K = 2 samples of every artist, side by side
        assert len({draw.content for draw in batch}) == 6


def test_contents_come_without_repetition_until_all_were_seen():
    stream = _batches()
    turns = [
        [draw.content for number in (2 * turn, 2 * turn + 1) for draw in stream.batch(number)] for turn in range(3)
    ]
    assert [sorted(turn) for turn in turns] == [list(range(12))] * 3
    assert turns[0] != turns[1]


def test_a_batch_depends_on_its_number_only():
    stream, again = _batches(), _batches()
    backwards = [again.batch(number) for number in reversed(range(5))]
    assert list(stream) == backwards[::-1]
    assert list(stream) != list(_batches(seed=2))


@pytest.mark.parametrize(("world_size", "changes"), [(2, {"artists_per_batch": 2}), (3, {}), (6, {})])
def test_ranks_read_equal_shares_of_the_batch_that_one_process_reads(world_size, changes):
    whole = _batches(**changes)
    ranks = [_batches(rank=rank, world_size=world_size, **changes) for rank in range(world_size)]
    for number in range(10):
        shares = [rank.batch(number) for rank in ranks]
        assert {len(share) for share in shares} == {6 // world_size}
        assert [draw for share in shares for draw in share] == whole.batch(number)


@pytest.mark.parametrize(("batch_size", "artists", "world_size"), [(6, 3, 4), (6, 3, 2), (8, 4, 3), (2, 2, 4)])
def test_what_does_not_divide_among_the_ranks_is_refused(batch_size, artists, world_size):
    with pytest.raises(ImpastoError, match=f"does not divide among {world_size} processes"):
        _batches(batch_size=batch_size, artists_per_batch=artists, world_size=world_size)


@pytest.mark.parametrize(("power", "expected"), [(0.0, 0.5), (0.5, 0.75), (1.0, 0.9)])
def test_power_balances_the_artists(power, expected):
    stream = ArtistBatches([9, 1], 10, batch_size=1, artists_per_batch=1, batches_per_epoch=1000, power=power)
    share = np.mean([batch[0].artist == 0 for batch in stream])
    assert abs(share - expected) < 0.05


def test_impossible_batches_are_explained():
    with pytest.raises(ImpastoError, match="multiple"):
        _batches(batch_size=7)
    with pytest.raises(ImpastoError, match="only 4 artists"):
        _batches(batch_size=10, artists_per_batch=5)


def _painting_batches(**changes):
    options = {"batch_size": 6, "paintings_per_batch": 3, "batches_per_epoch": 5, "seed": 1, "blocks": [4, 5, 3]}
    return PaintingBatches(9, 12, **options | {"painting_blocks": [2, 4, 3]} | changes)


def test_paintings_and_contents_come_without_repetition_until_all_were_seen():
    stream = _painting_batches()
    draws = [stream.batch(number) for number in range(6)]
    for first in (0, 3):
        paintings = [draw.artist for batch in draws[first : first + 3] for draw in batch]
        assert paintings[0::2] == paintings[1::2]  # K = 2 contents for every painting
        assert sorted(paintings[0::2]) == list(range(9))
    for first in (0, 2, 4):
        assert sorted(draw.content for batch in draws[first : first + 2] for draw in batch) == list(range(12))
    assert [draw.position for batch in draws for draw in batch] == list(range(36))


@pytest.mark.parametrize("world_size", [3, 6])
def test_ranks_share_what_one_process_reads_of_paintings(world_size):
    ranks = [_painting_batches(rank=rank, world_size=world_size) for rank in range(world_size)]
    for number in range(10):
        assert [draw for rank in ranks for draw in rank.batch(number)] == _painting_batches().batch(number)


def test_ranks_read_different_blocks():
    blocks = [10] * 60
    seen = []
    for rank in range(2):
        stream = PaintingBatches(
            600, 600, batch_size=4, paintings_per_batch=4, batches_per_epoch=150, rank=rank, world_size=2,
            blocks=blocks, painting_blocks=blocks,
        )  # fmt: skip
        draws = [draw for batch in stream for draw in batch]
        seen.append([{draw.content // 10 for draw in draws}, {draw.artist // 10 for draw in draws}])
    for one, other in zip(*seen, strict=True):
        assert len(one & other) <= TOGETHER
        assert len(one | other) == 60


def test_contents_in_blocks_change_nothing_of_the_artists():
    lying, anywhere = _batches(blocks=[5, 7]), _batches()
    for number in range(4):
        assert [draw.artist for draw in lying.batch(number)] == [draw.artist for draw in anywhere.batch(number)]
    assert [draw.content for draw in lying.batch(0)] != [draw.content for draw in anywhere.batch(0)]


class _Echo(Dataset):
    """Writes the draw into the picture."""

    def __getitem__(self, draw):
        pixels = np.full((2, 2, 3), draw.content, np.uint8)
        return Sample(pixels, pixels, draw.artist, f"artist {draw.artist}", draw.position, reference=pixels)


class _Deaf(Dataset):
    """Fails where a worker would have died of the signal."""

    def __getitem__(self, draw):
        os.kill(os.getpid(), signal.SIGUSR1)
        return _Echo()[draw]


def _positions(loader):
    return [batch.index.tolist() for batch in loader]


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_any_number_of_workers_gives_the_same_epochs(workers):
    loader = ResumableLoader(_Echo(), _batches(), workers=workers)
    stream = _batches()
    for epoch in range(2):
        numbers = range(5 * epoch, 5 * epoch + 5)
        assert _positions(loader) == [[draw.position for draw in stream.batch(number)] for number in numbers]


@pytest.mark.parametrize("drawn", [0, 1, 5, 7, 10])
@pytest.mark.parametrize(("before", "after"), [(0, 0), (2, 1)])
def test_state_continues_at_the_next_batch(drawn, before, after):
    loader = ResumableLoader(_Echo(), _batches(), workers=before)
    for _, _ in zip(range(drawn), (batch for _ in range(3) for batch in loader), strict=False):
        pass
    state = loader.state_dict()
    assert state["drawn"] == drawn
    resumed = ResumableLoader(_Echo(), _batches(), workers=after)
    resumed.load_state_dict(state)
    expected = [[draw.position for draw in _batches().batch(number)] for number in range(drawn, 20)]
    rest = _positions(resumed)
    assert len(rest) == 5 - drawn % 5
    assert (rest + _positions(resumed)) == expected[: len(rest) + 5]


def test_epochs_leave_the_global_random_numbers_alone():
    loader = ResumableLoader(_Echo(), _batches(), workers=0)
    before = torch.get_rng_state()
    list(loader)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="no such signal on this system")
def test_workers_survive_the_requeue_signal():
    assert len(list(ResumableLoader(_Deaf(), _batches(), workers=1))) == 5


def _sample(**changes):
    pixels = np.zeros((2, 2, 3), np.uint8)
    return Sample(pixels, pixels + 255, 1, "Ada Stipple", 7)._replace(**changes)


def test_collate_stacks_and_scales():
    batch = collate([_sample(), _sample(prompt="Ben Hatch")])
    assert isinstance(batch, StyleBatch)
    assert batch.style.shape == (2, 3, 2, 2)
    assert batch.style.is_contiguous()
    assert batch.style.dtype == torch.float32
    assert (batch.content.max(), batch.style.min()) == (0, 1)
    assert batch.prompt == ["Ada Stipple", "Ben Hatch"]
    assert batch.artist.dtype == batch.index.dtype == torch.int64
    assert batch.index.tolist() == [7, 7]


def test_collate_passes_missing_pictures_on_as_none():
    truth = np.full((2, 2, 3), 51, np.uint8)
    assert collate([_sample(), _sample()]).truth is None
    assert collate([_sample(truth=truth), _sample()]).truth is None
    assert torch.equal(collate([_sample(truth=truth)]).truth, torch.full((1, 3, 2, 2), 0.2))


def test_batches_move_between_devices():
    batch = move_data_to_device(collate([_sample(), _sample()]), "meta")
    assert isinstance(batch, StyleBatch)
    assert batch.content.device.type == "meta"
    assert batch.reference is None
    assert batch.prompt == ["Ada Stipple"] * 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="pinning needs CUDA")
def test_batches_pin_their_memory():
    batch = next(iter(ResumableLoader(_Echo(), _batches(), workers=1)))
    assert isinstance(batch, StyleBatch)
    assert batch.content.is_pinned()
