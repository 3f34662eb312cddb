"""The server behind the page, asked as somebody would who means no good."""

import json
import re
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments.demo import server
from experiments.demo.uploads import Limits
from lightning_modules.errors import ImpastoError

LIMITS = Limits(megabytes=1, side=64, waiting=2)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_port_that_is_taken_is_one_sentence():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ImpastoError, match=r"^Port \d+ cannot be had \(.*\): choose another one with --port\.$"):
            server.check_port(taken.getsockname()[1])
    for port in (0, 70_000):
        with pytest.raises(ImpastoError, match="from 1 to 65535"):
            server.check_port(port)


@pytest.fixture(scope="module")
def address(choices):
    pytest.importorskip("gradio")
    with server.serving(choices, "cpu", free_port(), LIMITS) as address:
        yield address.rstrip("/")


@pytest.fixture(scope="module")
def ask(address):
    httpx = pytest.importorskip("httpx")
    with httpx.Client(base_url=address, timeout=60) as client:
        yield client


def upload(ask, name, data):
    return ask.post("/gradio_api/upload", files={"files": (name, data, "image/png")})


def picture(tmp_path):
    path = tmp_path / "red.png"
    Image.fromarray(np.full((20, 30, 3), (200, 10, 10), dtype=np.uint8)).save(path)
    return path.read_bytes()


def test_the_page_names_no_other_place(ask):
    assert ask.get("/").status_code == 200
    style = ask.get("/theme.css").text
    assert not re.findall(r"""@import|url\((?!['"]?data:)""", style)
    config = ask.get("/config").json()
    assert config["analytics_enabled"] is False
    assert config["max_file_size"] == 2**20
    assert not config.get("stylesheets")


@pytest.mark.parametrize("file", ["/etc/passwd", "pyproject.toml", "%2e%2e/%2e%2e/etc/passwd", "C:/Windows/win.ini"])
def test_no_file_of_the_machine_is_handed_out(ask, file):
    assert ask.get(f"/gradio_api/file={file}").status_code == 403


def test_an_upload_lies_in_the_servers_own_folder_whatever_it_is_called(ask, tmp_path):
    for name in ("../../../evil.png", "/etc/evil.png", "a b<script>.png"):
        [path] = upload(ask, name, picture(tmp_path)).json()
        assert "/impasto-demo-" in path
        assert "/cache/" in path
        assert ".." not in path


def test_a_file_that_is_too_large_is_refused(ask):
    assert upload(ask, "large.png", b"\0" * (2**20 + 1)).status_code == 413


def test_nothing_is_fetched_for_anybody(ask, monkeypatch):
    import safehttpx

    sought = []

    async def out(*_, **__):
        sought.append("another machine")
        raise OSError

    monkeypatch.setattr(safehttpx, "async_validate_url", out)
    monkeypatch.setattr(safehttpx, "get", out)
    assert ask.get("/gradio_api/file=https://example.com/a.png").status_code == 403
    said = painted(ask, "one", photograph={"path": "https://example.com/a.png", "meta": {"_type": "gradio.FileData"}})
    assert said["success"] is False
    assert not sought


# ---- painting as a page does it --------------------------------------------------------------------------------------


def chosen(ask, session, painter, second="nobody"):
    """Choose painters as a page does; return the number of what its button calls, and how many inputs that takes."""
    config = ask.get("/config").json()
    [render] = [each for each in config["dependencies"] if each.get("render_id") is not None or each.get("rendered_in")]
    reply = send(ask, session, render["id"], [painter, second])
    layout = reply["output"]["render_config"]
    [button] = [each for each in layout["dependencies"] if each["scroll_to_output"]]
    return button["id"], len(button["inputs"])


def send(ask, session, number, data):
    sent = ask.post("/gradio_api/queue/join", json={"fn_index": number, "session_hash": session, "data": data})
    assert sent.status_code == 200, sent.text
    with ask.stream("GET", "/gradio_api/queue/data", params={"session_hash": session}) as stream:
        for line in stream.iter_lines():
            message = json.loads(line.removeprefix("data: ")) if line.startswith("data: ") else {}
            if message.get("msg") == "process_completed" and message["event_id"] == sent.json()["event_id"]:
                return message
    raise AssertionError("no answer")


def painted(ask, session, *, painter="stub", prompt="a", photograph=None, controls=(1.0, 0)):
    button, _ = chosen(ask, session, painter)
    form = [painter, "nobody", photograph, None, None, prompt, "text", 0, None]
    return send(ask, session, button, [*form, *controls])


def said(reply):
    return reply["output"]["error"]


def uploaded(ask, data, name="photo.png"):
    [path] = upload(ask, name, data).json()
    return {"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}}


def test_two_pages_get_their_own_pictures(ask, tmp_path):
    photograph = uploaded(ask, picture(tmp_path))
    for session, strength in (("first", 0.0), ("second", 1.0)):
        reply = painted(ask, session, photograph=photograph, controls=(strength, 0))
        assert reply["success"], reply
        pair, caption = reply["output"]["data"][0], reply["output"]["data"][4]
        assert "30 × 20 pixels" in caption
        before, after = (np.asarray(Image.open(ask.get(each["url"]).raise_for_status())) for each in pair)
        assert (before == (200, 10, 10)).all()
        assert bool((after == before).all()) is (strength == 0)


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({}, "There is no photograph yet"),
        ({"prompt": " "}, "There is no p"),
        ({"controls": (9.0, 0)}, "The control alpha takes 0 to 3, not 9.0."),
        ({"controls": ("<b>", 0)}, "not '&lt;b&gt;'."),
        ({"photograph": {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}}, None),
    ],
)
def test_what_goes_wrong_is_a_sentence_or_nothing(ask, tmp_path, wish, words, capfd):
    if "controls" in wish:
        wish = wish | {"photograph": uploaded(ask, picture(tmp_path))}
    reply = painted(ask, "wrong", **wish)
    assert reply["success"] is False
    if words is None:  # no page sends that, and nobody who does is told what is there
        assert said(reply) is None
        return
    assert words in said(reply)
    assert "Traceback" not in capfd.readouterr().err


def test_a_bad_upload_is_a_sentence_that_names_no_path(ask):
    reply = painted(ask, "bad", photograph=uploaded(ask, b"<html>", "cat.png"))
    assert said(reply) == "The photograph is not a picture, whatever its name says: convert it to PNG or JPEG."


@pytest.mark.parametrize("place", ["here", "linked", "nowhere", "/etc/passwd"])
def test_no_picture_of_the_machine_is_painted(ask, tmp_path, place):
    (tmp_path / "here").write_bytes(picture(tmp_path))
    [own] = upload(ask, "photo.png", picture(tmp_path)).json()
    paths = {"linked": f"{Path(own).parent}/../../../..{tmp_path}/here"}
    stranger = {"path": paths.get(place, str(tmp_path / place))}  # without the mark of an upload gradio lets it through
    reply = painted(ask, "thief", photograph=stranger)
    assert reply["success"] is False
    assert said(reply) == "The photograph was not uploaded here: upload it."


def test_only_painters_of_the_list_paint(ask, tmp_path):
    button, _ = chosen(ask, "stranger", "stub")
    form = ["/etc/passwd", "nobody", uploaded(ask, picture(tmp_path)), None, None, "a", "text", 0, None]
    assert "not in the list" in said(send(ask, "stranger", button, [*form, 1.0, 0]))
