"""`impasto export`: files that load back bit for bit, refusals, and a page on a stand-in for the hub."""

import base64
import hashlib
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import lightning_modules.hub
from experiments.cli import execute
from lightning_modules.checkpoints import load_checkpoint
from lightning_modules.errors import ImpastoError
from lightning_modules.hub import fetch

EXPORT = ["export", "--checkpoint", "embedded:contraast"]


@pytest.fixture(autouse=True)
def stand_in(stub_path):
    """Let recipes name the stub."""


def export(*words):
    return execute(["export", *map(str, words)])


def paint(checkpoint):
    content = torch.rand(1, 3, 20, 28, generator=torch.Generator().manual_seed(0))
    return load_checkpoint(checkpoint).stylize(content, style=content.flip(3))


# ---- safetensors -----------------------------------------------------------------------------------------------------


def test_a_run_comes_back_bit_for_bit(trained, tmp_path, capsys):
    out = tmp_path / "deep/stub.safetensors"
    assert export("--checkpoint", trained, "--format", "safetensors", "--out", out) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(out)
    assert sorted(path.name for path in out.parent.iterdir()) == ["stub.json", "stub.safetensors"]
    assert torch.equal(paint(out), paint(trained / "checkpoints/last.ckpt"))
    state = torch.load(trained / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    stored = load_file(out)
    assert stored.keys() == state.keys()
    assert all(torch.equal(stored[name], value) for name, value in state.items())
    described = json.loads((tmp_path / "deep/stub.json").read_text())
    assert described["method"] == "stub_method"
    assert described["measured"]["iterations"] == 6


def test_half_precision_takes_half_the_space(trained, tmp_path):
    out = tmp_path / "stub.safetensors"
    assert export("--checkpoint", trained, "--format", "safetensors", "--out", out, "--half") == 0
    assert {value.dtype for value in load_file(out).values()} == {torch.float16}
    away = (paint(out) - paint(trained / "checkpoints/last.ckpt")).abs().max()
    assert 0 < float(away) < 1e-2


def test_a_painter_that_ships_keeps_its_figures_and_goes_without_what_only_losses_look_through(tmp_path):
    out = tmp_path / "again.safetensors"
    assert execute([*EXPORT, "--format", "safetensors", "--out", str(out)]) == 0
    described = json.loads(out.with_suffix(".json").read_text())
    assert "val/ssim_content" in described["measured"]["metrics"]
    assert not [name for name in load_file(out) if name.startswith(("style_head", "critic", "discriminator"))]
    assert torch.equal(paint(out), paint("embedded:contraast"))


def test_a_method_that_draws_from_words(tmp_path, stub_path):
    from stub_generator import Dreamer

    from lightning_modules.checkpoints import load_generator

    torch.manual_seed(0)
    dreamer = Dreamer()
    dreamer.recipe = "class_path: stub_generator.Dreamer\ninit_args: {}\n"
    checkpoint = {"state_dict": dreamer.state_dict()}
    dreamer.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, tmp_path / "dreamer.ckpt")
    out = tmp_path / "dreamer.safetensors"
    assert export("--checkpoint", tmp_path / "dreamer.ckpt", "--format", "safetensors", "--out", out) == 0
    assert torch.equal(load_generator(out).colours, dreamer.colours)


# ---- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--format", "onnx", "--out", "a.safetensors"], "does not end in .onnx"),
        (["--format", "safetensors", "--out", "a.onnx"], "does not end in .safetensors"),
        (["--format", "safetensors", "--out", "a.safetensors", "--prompt", "x"], "--prompt is for --format onnx"),
        (["--format", "safetensors", "--out", "a.safetensors", "--set", "a=1"], "--set is for --format onnx"),
        (["--format", "onnx", "--out", "a.onnx", "--half"], "--half is for --format safetensors"),
        (["--format", "onnx", "--out", "a.onnx", "--by", "text"], "--prompt NAME"),
        (["--format", "onnx", "--out", "a.onnx", "--prompt", "x"], "does not take text"),
        (["--format", "onnx", "--out", "a.onnx", "--set", "nonsense=1"], "no control 'nonsense'"),
        (["--format", "onnx", "--out", "a.onnx", "--push-to-hub", "nobody"], "'nobody' is no USER/NAME"),
    ],
)
def test_what_cannot_be_exported_is_one_sentence(tmp_path, monkeypatch, capsys, words, sentence):
    monkeypatch.chdir(tmp_path)
    assert execute([*EXPORT, *words]) == 1
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_there_stays(tmp_path, capsys):
    for name in ("a.safetensors", "a.json"):
        taken = tmp_path / name
        taken.write_text("mine")
        assert export(*EXPORT[1:], "--format", "safetensors", "--out", tmp_path / "a.safetensors") == 1
        assert f"{taken} is there already" in capsys.readouterr().err
        assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]
        taken.unlink()


@pytest.mark.parametrize(
    ("stub", "sentence"),
    [
        ("stub_generator.Dreamer", "Dreamer draws with a diffusion pipeline"),
        ("stub_method.Stub", "Stub has no graph that could be exported"),
    ],
)
def test_methods_without_a_graph_say_why(tmp_path, capsys, stub, sentence):
    from lightning_modules.checkpoints import class_of

    module = class_of({"class_path": stub})()
    module.recipe = f"class_path: {stub}\ninit_args: {{}}\n"
    checkpoint = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, tmp_path / "a.ckpt")
    assert export("--checkpoint", tmp_path / "a.ckpt", "--format", "onnx", "--out", tmp_path / "a.onnx") == 1
    assert sentence in capsys.readouterr().err


def test_least_fits_a_network_to_every_picture():
    from lightning_modules.least import LEAST

    with pytest.raises(ImpastoError, match="LEAST fits a network to every picture"):
        LEAST.portable(LEAST.__new__(LEAST), "image")


def test_missing_packages_are_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert execute([*EXPORT, "--format", "onnx", "--out", str(tmp_path / "a.onnx")]) == 1
    assert "pip install 'impasto[export]'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


# ---- hub -------------------------------------------------------------------------------------------------------------


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as an upload and a download ask of it; `files` is one repository."""

    files: dict[str, bytes]
    asked: list[str]
    refuses: int

    def log_message(self, *_):
        """Say nothing."""

    def answer(self, value, **headers):
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(200)
        for name, text in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def page(self):
        return f"http://{self.headers['Host']}/ada/pond"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.asked.append(f"POST {self.path} {self.headers.get('Authorization')}")
        if "validate-yaml" in self.path:
            self.answer({"errors": [], "warnings": []} if self.refuses != 500 else b"<html>")
        elif self.refuses:
            self.send_error(self.refuses)
        elif "/preupload/" in self.path:
            names = [each["path"] for each in json.loads(body)["files"]]
            self.answer({"files": [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]})
        elif "/commit/" in self.path:
            lines = [json.loads(line) for line in body.splitlines()]
            for line in (each["value"] for each in lines if each["key"] == "file"):
                self.files[line["path"]] = base64.b64decode(line["content"])
            self.answer({"success": True, "commitOid": "c" * 40, "commitUrl": self.page(), "hookOutput": ""})
        else:
            self.answer({"url": self.page(), "name": "ada/pond"})

    def do_GET(self):
        self.asked.append(f"{self.command} {self.path}")
        name = self.path.rpartition("/")[2]
        if "/tree/" in self.path:
            self.answer([{"type": "file", "path": each, "oid": "a" * 40, "size": 1} for each in self.files])
        elif "/api/models/" in self.path:
            siblings = [{"rfilename": each} for each in self.files]
            self.answer({"id": "ada/pond", "sha": "c" * 40, "siblings": siblings, "tags": [], "private": False})
        elif name in self.files:
            tag, commit = (hashlib.sha256(part).hexdigest() for part in (self.files[name], str(self.files).encode()))
            self.answer(self.files[name], ETag=f'"{tag}"', X_Repo_Commit=commit[:40])
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.end_headers()

    def do_HEAD(self):
        self.do_GET()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Return a hub on this machine that holds nothing yet, and send everybody there."""
    from huggingface_hub import constants
    from huggingface_hub.utils import close_session

    handler = type("Ours", (Hub,), {"files": {}, "asked": [], "refuses": 0})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    for name, value in {
        "ENDPOINT": address,
        "HUGGINGFACE_CO_URL_TEMPLATE": address + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_OFFLINE": False,
        "HF_HUB_CACHE": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setattr(constants, name, value)
    monkeypatch.setenv("HF_TOKEN", "hf_stand_in")
    close_session()
    yield handler
    server.shutdown()
    server.server_close()
    close_session()


def test_a_page_is_made_and_loads_back(hub, trained, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(lightning_modules.hub, "TRUSTED", ("stub_method.",))
    out = tmp_path / "stub.safetensors"
    words = ["--checkpoint", trained, "--format", "safetensors", "--out", out]
    assert export(*words, "--push-to-hub", "ada/pond", "--licence", "cc-by-4.0") == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith("/ada/pond")
    assert hub.files.keys() == {"model.safetensors", "model.json", "README.md"}
    assert hub.files["model.safetensors"] == out.read_bytes()
    card = hub.files["README.md"].decode()
    assert card.startswith("---\nlicense: cc-by-4.0\n")
    for text in ("# pond", "Stub", "| iterations | 6 |", "StubData", "impasto stylize --checkpoint hf:ada/pond"):
        assert text in card
    assert all("hf_stand_in" in line for line in hub.asked if line.startswith("POST"))

    again = fetch("ada/pond")
    assert torch.equal(paint(again), paint(out))


def test_painting_from_a_page(hub, tmp_path, monkeypatch, capsys):
    from PIL import Image

    for name, suffix in (("model.safetensors", ".safetensors"), ("model.json", ".json")):
        hub.files[name] = (Path("assets/embedded/contraast").with_suffix(suffix)).read_bytes()
    Image.new("RGB", (40, 32), "teal").save(tmp_path / "a.png")
    picture = str(tmp_path / "a.png")
    call = ["stylize", "--content", picture, "--style", picture, "--device", "cpu"]
    for checkpoint, out in (("hf:ada/pond", "b.png"), ("embedded:contraast", "c.png")):
        assert execute([*call, "--checkpoint", checkpoint, "--out", str(tmp_path / out)]) == 0
    assert (tmp_path / "b.png").read_bytes() == (tmp_path / "c.png").read_bytes()


def test_a_description_that_asks_for_foreign_classes_is_not_loaded(hub):
    hub.files |= {"model.safetensors": b"", "model.json": b'{"recipe": {"a": [{"class_path": "os.system"}]}}'}
    with pytest.raises(ImpastoError, match=r"hf:ada/pond asks for os\.system"):
        fetch("ada/pond")
    hub.files["model.json"] = b"{"
    with pytest.raises(ImpastoError, match="no painter of Impasto"):
        fetch("ada/pond@main2")


def test_what_a_hub_lacks_or_refuses_is_one_sentence(hub, trained, tmp_path, capsys):
    with pytest.raises(ImpastoError, match=r"holds no model\.safetensors"):
        fetch("ada/nothing")
    with pytest.raises(ImpastoError, match="no USER/NAME"):
        fetch("../pond")
    words = ["--checkpoint", trained, "--format", "safetensors", "--push-to-hub", "ada/pond", "--out"]
    for hub.refuses, sentence in ((403, "the hub answers 403"), (500, "answer")):
        out = tmp_path / f"{hub.refuses}.safetensors"
        assert export(*words, out) == 1
        error = capsys.readouterr().err
        assert "Nothing was sent to ada/pond" in error
        assert sentence in error
        assert error.count("\n") == 1
        assert out.is_file()  # what was asked for first is done


def test_without_a_token_or_a_network_nothing_is_sent(hub, trained, tmp_path, monkeypatch, capsys):
    from huggingface_hub import constants

    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    words = ["--checkpoint", trained, "--format", "safetensors", "--push-to-hub", "ada/pond", "--out"]
    assert export(*words, tmp_path / "a.safetensors") == 1
    assert "there is no token" in capsys.readouterr().err
    monkeypatch.setenv("HF_TOKEN", "hf_stand_in")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert export(*words, tmp_path / "b.safetensors") == 1
    assert "the hub cannot be reached" in capsys.readouterr().err
    with pytest.raises(ImpastoError, match="the hub cannot be reached"):
        fetch("ada/pond")
    assert not hub.asked
    assert not hub.files


def test_nothing_is_sent_without_the_flag(hub, trained, tmp_path):
    assert export("--checkpoint", trained, "--format", "safetensors", "--out", tmp_path / "a.safetensors") == 0
    assert not hub.asked
