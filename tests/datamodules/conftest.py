import io
import shutil
import tarfile

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def gallery(tmp_path_factory):
    """ProceduralArt's layout in little: 3 artists, contents 10/3/2; grey level tells contents, hue tells artists."""
    root = tmp_path_factory.mktemp("gallery")
    for split, count in {"train": 10, "val": 3, "test": 2}.items():
        for number in range(count):
            pixels = np.full((40, 48, 3), 20 * number, np.uint8)
            pixels[:, :, 0] += np.arange(48, dtype=np.uint8)  # so that crops and flips show
            _save(pixels, root / split / "contents" / f"{split}{number}.png")
            for artist in range(3):
                painted = pixels.copy()
                painted[:, :, 1] = 60 * artist + number
                _save(painted, root / split / "paintings" / f"Artist {'ABC'[artist]}" / f"{split}{number}.png")
    return root


def _save(pixels, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="session")
def archive(tmp_path_factory):
    """What img2dataset writes: 2 shards of 12 pictures, grey of 10 times their number; the first has projects."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    root = tmp_path_factory.mktemp("archive")
    for shard in range(2):
        numbers = range(12 * shard, 12 * shard + 12)
        keys = [f"{number:09d}" for number in numbers]
        with tarfile.open(root / f"{shard:05d}.tar", "w") as tar:
            for number, key in zip(numbers, keys, strict=True):
                _add(tar, f"{key}.json", b"{}")
                _add(tar, f"{key}.png", _png(number))
        projects = [f"project {number // 3}" if shard == 0 else None for number in numbers]
        table = {"key": keys, "status": ["success"] * 12, "project": pa.array(projects, pa.string())}
        pq.write_table(pa.table(table), root / f"{shard:05d}.parquet")
    return root


@pytest.fixture
def own_archive(archive, tmp_path):
    """The same, to be damaged."""
    return shutil.copytree(archive, tmp_path / "archive")


@pytest.fixture(scope="session")
def shards(archive, tmp_path_factory):
    """Training shards of that archive, three pictures a chunk."""
    from datamodules.shard_writing import write_shards

    size = 8 + 3 * (8 + max(len(_png(number)) for number in range(24)))
    return write_shards(archive, tmp_path_factory.mktemp("shards"), group="project", chunk_bytes=size)


@pytest.fixture(scope="session")
def big_index():
    """Return a function that writes the index of many pictures, of which none is there."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from datamodules.shard_files import chunk_table

    def write(root, count, *, per_chunk=400, groups=None):
        numbers = np.arange(count)
        chunks = -(-count // per_chunk)
        group = pa.nulls(count, pa.string()) if groups is None else pa.array((numbers // groups).astype(str))
        table = {
            "key": pa.array(np.char.zfill(numbers.astype(str), 9)),
            "group": group,
            "chunk": pa.array((numbers // per_chunk).astype(np.int32)),
            "offset": pa.array(1000 * (numbers % per_chunk) + 5000),
            "size": pa.array(np.full(count, 900, np.int32)),
            "hash": pa.array(np.random.default_rng(0).permutation(count)),
        }
        pq.write_table(pa.table(table), root / "index.parquet")
        counts = np.bincount(numbers // per_chunk, minlength=chunks).tolist()
        listed = [(f"{number:05d}.bin", 1_000_000, size) for number, size in enumerate(counts)]
        (root / "index.json").write_text(chunk_table(listed, 1_000_000))
        for name, size, _ in listed:
            with (root / name).open("wb") as file:
                file.truncate(size)  # a hole, which takes no space
        return root

    return write


def _png(number):
    with io.BytesIO() as file:
        Image.new("RGB", (16, 12), (10 * number,) * 3).save(file, "PNG")
        return file.getvalue()


def _add(tar, name, data):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))
