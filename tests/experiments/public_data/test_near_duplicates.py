import io
import time

import numpy as np
from PIL import Image

from experiments.public_data.near_duplicates import DISTANCE, find_twins, perceptual_hash


def by_hand(hashes, splits):
    """Compare every picture with every one of the splits before its own."""
    found = {}
    for position, split in enumerate(splits):
        distances = [
            ((int(hashes[position]) ^ int(h)).bit_count(), i) for i, h in enumerate(hashes) if splits[i] < split
        ]
        if distances and min(distances)[0] <= DISTANCE:
            found[position] = min(distances)[0]
    return found


def test_twins_are_those_that_a_comparison_of_all_with_all_finds():
    noise = np.random.default_rng(0)
    hashes = noise.integers(0, 2**64, 300, dtype=np.uint64)
    splits = noise.integers(0, 3, 300)
    for position in range(100, 200):  # some hashes of others with up to seven bits turned
        flips = noise.choice(64, noise.integers(0, 8), replace=False)
        hashes[position] = hashes[position - 100] ^ np.uint64(sum(1 << int(bit) for bit in flips))
    hashes[200:230] = hashes[0]  # blank pictures
    twins = find_twins(hashes, splits)
    assert {twin.position: twin.distance for twin in twins} == by_hand(hashes, splits)
    for twin in twins:
        assert splits[twin.other] < splits[twin.position]
        assert (int(hashes[twin.position]) ^ int(hashes[twin.other])).bit_count() == twin.distance


def test_none_is_missed_wherever_its_bits_are_turned():
    noise = np.random.default_rng(3)
    hashes = noise.integers(0, 2**64, 400, dtype=np.uint64)
    for position in range(200):
        flips = noise.choice(64, DISTANCE, replace=False)
        hashes[position + 200] = hashes[position] ^ np.uint64(sum(1 << int(bit) for bit in flips))
    twins = find_twins(hashes, np.repeat([0, 1], 200))
    assert [(twin.position, twin.other, twin.distance) for twin in twins] == [
        (position + 200, position, DISTANCE) for position in range(200)
    ]


def test_nothing_and_one_split_have_no_twins():
    assert find_twins(np.zeros(0, np.uint64), np.zeros(0, np.int64)) == []
    assert find_twins(np.zeros(9, np.uint64), np.zeros(9, np.int64)) == []


def test_as_many_pictures_as_wikiart_has_take_seconds():
    noise = np.random.default_rng(1)
    hashes = noise.integers(0, 2**64, 80_000, dtype=np.uint64)
    hashes[:4000] = 0  # compared once, not four thousand times
    splits = (np.arange(80_000) % 10 == 0).astype(np.int64)
    start = time.process_time()
    twins = find_twins(hashes, splits)
    assert time.process_time() - start < 20
    assert len(twins) >= 400


def saved(image, **settings):
    buffer = io.BytesIO()
    image.save(buffer, **settings)
    return Image.open(io.BytesIO(buffer.getvalue()))


def test_a_smaller_copy_of_another_quality_is_near_and_another_picture_is_far():
    noise = np.random.default_rng(2)
    one, other = (
        Image.fromarray(noise.integers(0, 256, (9, 12, 3), dtype=np.uint8)).resize((640, 480), Image.Resampling.BICUBIC)
        for _ in range(2)
    )
    whole = perceptual_hash(saved(one, format="PNG"))
    copy = perceptual_hash(saved(one.resize((400, 300)), format="JPEG", quality=60))
    assert (whole ^ copy).bit_count() <= DISTANCE
    assert (whole ^ perceptual_hash(saved(other, format="PNG"))).bit_count() > 3 * DISTANCE
