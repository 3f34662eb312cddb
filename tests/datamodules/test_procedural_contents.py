"""Contents without paintings: the same for the same seed, apart by split, completed where some are missing."""

import hashlib

from datamodules.procedural_contents import ProceduralContents


def made(root, **changes):
    source = ProceduralContents(root, **{"size": 32, "contents_per_split": {"train": 4, "val": 3}, **changes})
    source.prepare()
    return source


def digests(source, split):
    return [hashlib.sha256(content.path.read_bytes()).hexdigest() for content in source.contents(split)]


def test_there_are_as_many_as_asked_for_and_none_is_in_two_splits(tmp_path):
    source = made(tmp_path)
    train, val = digests(source, "train"), digests(source, "val")
    assert (len(set(train)), len(set(val))) == (4, 3)
    assert not set(train) & set(val)


def test_the_seed_decides_and_what_is_missing_is_made_again(tmp_path):
    source = made(tmp_path)
    first = digests(source, "train")
    source.contents("train")[1].path.unlink()
    assert digests(made(tmp_path), "train") == first
    other = digests(made(tmp_path, seed=2), "train")
    assert len(other) == 4
    assert not set(other) & set(first)
    assert digests(made(tmp_path), "train") == first
