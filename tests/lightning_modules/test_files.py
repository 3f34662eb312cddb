import pytest

from lightning_modules.files import replacing, write_atomically


def test_a_file_is_written_whole_with_its_folder(tmp_path):
    path = tmp_path / "new" / "a.txt"
    write_atomically(path, "né\n")
    assert path.read_bytes() == b"n\xc3\xa9\n"
    write_atomically(path, b"\0")
    assert path.read_bytes() == b"\0"
    assert list(path.parent.iterdir()) == [path]


def write_half(path, failure):
    with replacing(path) as temporary:
        assert temporary.suffix == ".png"
        temporary.write_text("half")
        raise failure


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, failure):
    path = tmp_path / "a.png"
    path.write_text("old")
    with pytest.raises(failure):
        write_half(path, failure)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
