"""Reading what img2dataset writes."""

import hashlib

import pytest

from experiments.curating.archive import DamagedShardError, members, shards_of
from lightning_modules.errors import ImpastoError


def test_pictures_come_with_their_records_in_order(archive):
    found = list(members(archive / "00001.tar"))
    assert [each.key for each in found] == [f"{number:09d}" for number in range(8, 16)]
    assert [each.url for each in found] == [f"http://x/{number}" for number in range(8, 16)]
    assert all(each.sha256 == hashlib.sha256(each.data).hexdigest() for each in found)


def test_only_the_keys_asked_for_are_read(archive):
    assert [each.name for each in members(archive / "00001.tar", {"000000012"})] == ["000000012.png"]


def test_a_cut_shard_gives_what_is_whole_and_says_so(archive):
    path = archive / "00000.tar"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    reading = members(path)
    assert next(reading).key == "000000000"
    with pytest.raises(DamagedShardError, match="fetch it again"):
        list(reading)


def test_what_is_no_archive_is_named(tmp_path):
    with pytest.raises(ImpastoError, match="no folder"):
        shards_of(tmp_path / "none")
    with pytest.raises(ImpastoError, match="No shards in"):
        shards_of(tmp_path)
    (tmp_path / "a.tar").write_bytes(b"nothing")
    with pytest.raises(DamagedShardError):
        list(members(tmp_path / "a.tar"))
