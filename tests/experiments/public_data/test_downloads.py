import base64
import hashlib
import json

import pytest

from experiments.public_data import disk, downloads
from experiments.public_data.downloads import fetch, named_checksums
from lightning_modules.errors import ImpastoError

DATA = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(DATA).hexdigest()


def ranged(data, tag='"one"', most=None, **headers):
    """Answer as a server that knows ranges; ``most`` bytes at once, after which it hangs up."""

    def answer(handler):
        asked, wanted = handler.headers.get("Range"), handler.headers.get("If-Range")
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and wanted == tag else 0
        part = data[start:]
        more = {"ETag": tag, **headers}
        if start:
            more["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        handler.reply(part[:most], length=len(part), status=206 if start else 200, **more)

    return answer


def test_what_breaks_off_goes_on_where_it_was(server, tmp_path):
    server.answers["/a.zip"] = ranged(DATA, most=300_000)
    path = fetch(f"{server.url}/a.zip", tmp_path / "a.zip", checksum=SHA256, pause=0)
    assert path.read_bytes() == DATA
    assert [asked for _, asked in server.asked] == [None, "bytes=300000-", "bytes=600000-", "bytes=900000-"]
    assert [each.name for each in tmp_path.iterdir()] == ["a.zip"]
    fetch(f"{server.url}/a.zip", tmp_path / "a.zip", checksum=SHA256)
    assert len(server.asked) == 4  # it is here already


def test_another_command_goes_on_and_a_changed_file_starts_afresh(server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "RETRIES", 0)
    server.answers["/a.zip"] = ranged(DATA, most=300_000)
    with pytest.raises(ImpastoError, match="the same command goes on"):
        fetch(f"{server.url}/a.zip", tmp_path / "a.zip")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.zip.part", "a.zip.part.json"]
    server.answers["/a.zip"] = ranged(DATA[::-1], tag='"two"')
    assert fetch(f"{server.url}/a.zip", tmp_path / "a.zip").read_bytes() == DATA[::-1]
    assert [asked for _, asked in server.asked] == [None, "bytes=300000-"]


def test_without_a_tag_nothing_is_appended(server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "RETRIES", 0)
    server.answers["/a.zip"] = lambda handler: handler.reply(DATA[:1000], length=len(DATA))
    with pytest.raises(ImpastoError):
        fetch(f"{server.url}/a.zip", tmp_path / "a.zip")
    server.answers["/a.zip"] = DATA
    assert fetch(f"{server.url}/a.zip", tmp_path / "a.zip").read_bytes() == DATA
    assert server.asked[-1][1] is None


def base64_of(name):
    return base64.b64encode(hashlib.new(name, DATA).digest()).decode()


@pytest.mark.parametrize(
    "headers",
    [
        {"Repr-Digest": f"sha-256=:{base64_of('sha256')}:"},
        {"Digest": f"md5=x,SHA-256={base64_of('sha256')}"},
        {"Content-MD5": base64_of("md5")},
    ],
)
def test_checksums_of_the_server_are_looked_at(server, tmp_path, headers):
    server.answers["/right"] = lambda handler: handler.reply(DATA, **headers)
    server.answers["/wrong"] = lambda handler: handler.reply(DATA[::-1], **headers)
    assert fetch(f"{server.url}/right", tmp_path / "right").is_file()
    with pytest.raises(ImpastoError, match="check the address, and fetch it again"):
        fetch(f"{server.url}/wrong", tmp_path / "wrong")
    assert not list(tmp_path.glob("wrong*.part"))
    assert not (tmp_path / "wrong").exists()


@pytest.mark.parametrize("data", [DATA, DATA[::-1]])
def test_the_checksum_that_hugging_face_gives_where_it_sends_elsewhere_is_looked_at(server, tmp_path, data):
    headers = {"Location": f"{server.url}/elsewhere", "X-Linked-ETag": f'"{SHA256}"'}
    server.answers["/a"] = lambda handler: handler.reply(b"", status=302, **headers)
    server.answers["/elsewhere"] = ranged(data, most=600_000)
    if data == DATA:
        assert fetch(f"{server.url}/a", tmp_path / "a", pause=0).read_bytes() == DATA
        assert [asked for _, asked in server.asked] == [None, None, "bytes=600000-", "bytes=600000-"]
    else:
        with pytest.raises(ImpastoError, match=f"not {SHA256}"):
            fetch(f"{server.url}/a", tmp_path / "a", pause=0)


def test_a_wrong_checksum_of_the_user_leaves_no_file_of_that_name(server, tmp_path):
    server.answers["/a"] = DATA
    for checksum in ("0" * 64, "0" * 32):
        with pytest.raises(ImpastoError, match=f"not {checksum}"):
            fetch(f"{server.url}/a", tmp_path / "a", checksum=checksum)
        assert not (tmp_path / "a").exists()
    with pytest.raises(ImpastoError, match="neither an MD5 nor a SHA-256"):
        fetch(f"{server.url}/a", tmp_path / "a", checksum="12")


def test_a_busy_server_is_asked_again_and_one_that_refuses_is_not(server, tmp_path):
    answers = iter([503, 429, None])

    def busy(handler):
        code = next(answers)
        handler.send_error(code) if code else handler.reply(DATA)

    server.answers["/a"] = busy
    assert fetch(f"{server.url}/a", tmp_path / "a", pause=0).read_bytes() == DATA
    server.answers["/b"] = lambda handler: handler.send_error(403)
    with pytest.raises(ImpastoError, match="403 Forbidden"):
        fetch(f"{server.url}/b", tmp_path / "b", pause=0)
    assert [path for path, _ in server.asked].count("/b") == 1


def test_nobody_there_is_one_sentence(server, tmp_path):
    url = server.url
    server.shutdown()
    server.server_close()
    with pytest.raises(ImpastoError, match=r"cannot be fetched .*refused"):
        fetch(f"{url}/a", tmp_path / "a", pause=0)


def test_a_disk_that_is_too_small_is_said_before_anything_is_written(server, tmp_path, monkeypatch):
    server.answers["/a"] = DATA
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with pytest.raises(ImpastoError, match=r"needs 1.0 MB and the disk of .* has 1.0 kB left"):
        fetch(f"{server.url}/a", tmp_path / "a")
    assert not list(tmp_path.iterdir())


def test_damaged_notes_of_a_part_start_afresh(server, tmp_path):
    server.answers["/a"] = ranged(DATA)
    (tmp_path / "a.part").write_bytes(b"x" * 100)
    (tmp_path / "a.part.json").write_text(json.dumps({"length": "many"}))
    assert fetch(f"{server.url}/a", tmp_path / "a").read_bytes() == DATA


def test_checksums_of_the_command_line():
    assert named_checksums(["a=b.zip=" + "0" * 32]) == {"a=b.zip": "0" * 32}
    for wrong in ("a.zip", "=" + "0" * 32, "a.zip="):
        with pytest.raises(ImpastoError, match="is no checksum"):
            named_checksums([wrong])
