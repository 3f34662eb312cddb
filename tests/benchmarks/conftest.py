import pytest

from benchmarks.gallery.held_out import open_data, read_pairs
from datamodules.sources import ProceduralArt


@pytest.fixture(scope="session")
def small_art(tmp_path_factory):
    """Return a data set of few small pictures: two contents of the validation, so twelve pairs."""
    folder = tmp_path_factory.mktemp("art")
    art = ProceduralArt(folder, size=48, contents_per_split={"train": 1, "val": 2, "test": 2})
    art.prepare()
    return art


@pytest.fixture(scope="session")
def pairs(small_art):
    return read_pairs(open_data(small_art))
