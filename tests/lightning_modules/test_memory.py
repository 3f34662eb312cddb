import pytest
import torch

from lightning_modules import memory
from lightning_modules.memory import free_memory, tile_side

CPU = torch.device("cpu")
GIB = 2**30


@pytest.mark.parametrize(
    ("free", "pixels", "wanted", "side"),
    [
        (64 * GIB, 2**21, None, 0),  # 2 GiB of 64
        (3 * GIB, 2**21, None, 1216),  # 1.5 GiB may be taken
        (64 * GIB, 2**23, None, 1536),  # 8 GiB: never whole, however much is free
        (GIB, 2**23, None, 704),
        (2**20, 2**23, None, 256),  # the smallest, rather than nothing
        (None, 2**21, None, 0),
        (None, 2**23, None, 1536),
        (64 * GIB, 2**10, 512, 512),
        (2**20, 2**30, 0, 0),
    ],
)
def test_a_picture_is_whole_where_it_fits_and_in_tiles_where_it_does_not(monkeypatch, free, pixels, wanted, side):
    monkeypatch.setattr(memory, "free_memory", lambda _: free)
    assert tile_side(pixels, 1024, CPU, wanted) == side


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Return a function that writes what Linux says: free MiB, the entry of /proc/self/cgroup, and groups' files."""
    for name in ("MEMINFO", "GROUP", "GROUPS"):
        monkeypatch.setattr(memory, name, tmp_path / name)

    def write(available, entry, groups):
        (tmp_path / "MEMINFO").write_text(f"MemTotal: 99 kB\nMemAvailable:   {available * 1024} kB\n")
        (tmp_path / "GROUP").write_text(f"2:cpu:/elsewhere\n{entry}\n")
        for name, text in groups.items():
            path = tmp_path / "GROUPS" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return write


NEW = ("memory.max", "memory.current", "inactive_file")
OLD = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def group(folder, names, limit, used, files):
    limits, usage, cached = names
    return {
        f"{folder}/{limits}": f"{limit}\n",
        f"{folder}/{usage}": f"{used}\n",
        f"{folder}/memory.stat": f"anon 5\n{cached} {files}\n",
    }


@pytest.mark.parametrize(
    ("entry", "groups", "free"),
    [
        ("0::/", {}, 100 * 2**20),
        ("0::/", group(".", NEW, "max", 5, 0), 100 * 2**20),  # no limit
        ("0::/a/b", group("a/b", NEW, 50, 20, 8), 38),
        ("0::/a/b", {**group("a/b", NEW, 50, 20, 0), **group("a", NEW, 40, 30, 0)}, 10),  # the outer one is tighter
        ("0::/host/path", group(".", NEW, 50, 20, 0), 30),  # a container sees its own group as the root
        ("4:memory:/a", group("memory/a", OLD, 50, 20, 8), 38),
        ("4:cpu,memory:/a", group("memory", OLD, 50, 20, 8), 38),
    ],
)
def test_free_memory_is_the_least_of_machine_and_groups(machine, entry, groups, free):
    machine(100, entry, groups)
    assert free_memory(CPU) == free


def test_nobody_knows(tmp_path, monkeypatch):
    for name in ("MEMINFO", "GROUP", "GROUPS"):
        monkeypatch.setattr(memory, name, tmp_path / name)
    assert free_memory(CPU) is None
    assert free_memory(torch.device("mps")) is None


def test_what_a_cache_of_a_gpu_holds_is_free(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (100, 1000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 50)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 20)
    assert free_memory(torch.device("cuda")) == 130
