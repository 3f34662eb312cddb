"""ONNX files of every feed-forward method: equal to PyTorch at sizes other than the exported one, and described."""

import json
import re
import runpy
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from experiments.sharing import onnx_file
from experiments.sharing.onnx_file import FURTHEST, open_session, write_onnx
from lightning_modules.checkpoints import build
from lightning_modules.errors import ImpastoError
from lightning_modules.portable import Given, Graph, Painting

DOCS = Path(__file__).parents[3] / "docs/export.md"
ADAM = {"class_path": "torch.optim.Adam", "init_args": {"lr": 0.001}}
NOT_NUMBERS = ("content", "style", "code")
PEOPLE = ("Ada Stipple", "Nobody Known")
TINY = {
    "clast by picture": ("clast.CLAST", {"widths": [8, 8, 8], "decoder_width": 16, "mixer": "steady"}),
    "clast by name": ("clast.CLAST", {"widths": [8, 8, 8], "decoder_width": 16, "mixer": "mamba1", "scan": "bidi"}),
    "contraast": ("contraast.ContraAST", {"skips": 4, "texture": {"widths": [8, 8, 8], "manner": 8}}),
    "neat": ("neat.NeAT", {"levels": ["relu4_1"], "prior": {"bilateral": 5}, "controls": {"prior_blur": 0.75}}),
    "neat in large strokes": (
        "neat.NeAT",
        {"levels": ["relu4_1"], "prior": {"bilateral": 5}, "controls": {"stroke_size": 2}},
    ),
}
FIXED = {
    "neat": {"prior_blur": 0.75, "stroke_size": 1},
    "neat in large strokes": {"prior_blur": 1.0, "stroke_size": 2},
}
pytestmark = pytest.mark.slow


def tiny(name):
    """Return a method with random weights that paint something."""
    kind, settings = TINY[name]
    optimizers = {} if "clast" in name else {"discriminator_optimizer": ADAM}
    if name.startswith("neat"):
        optimizers["patch_optimizer"] = ADAM
    arguments = {"optimizer": ADAM, "weights": "embedded", **optimizers, **settings}
    torch.manual_seed(0)
    model = build({"class_path": f"lightning_modules.{kind}", "init_args": arguments}).eval()
    for part in (getattr(model, each, None) for each in ("fusion", "decoder", "generator")):
        for parameter in () if part is None else part.parameters():
            if parameter.ndim > 1:
                nn.init.kaiming_normal_(parameter, nonlinearity="relu")
    return model


@pytest.fixture(scope="session", params=TINY)
def exported(request, tmp_path_factory):
    """Return a method, its file, and a session on it: one export a method."""
    path = tmp_path_factory.mktemp("onnx") / "deep" / "painter.onnx"
    model = tiny(request.param)
    by, prompts = ("text", PEOPLE) if request.param.endswith("name") else ("image", ())
    difference = write_onnx(model, path, by=by, prompts=prompts, about={"method": model.method})
    return model, path, open_session(onnxruntime, path, 1), difference


def random_picture(height, width, seed):
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def test_a_file_paints_as_pytorch_does(exported):
    """All sizes in one test: another process of the test run would export anew for each."""
    for size in ((66, 141), (100, 74), (129, 112), (245, 266)):
        check_size(exported, size)


def check_size(exported, size):
    model, _, session, _ = exported
    content, style = random_picture(*size, 1), random_picture(90, 71, 2)
    described = {each["name"]: each for each in json.loads(session.get_modelmeta().custom_metadata_map["inputs"])}
    assert described.keys() == {each.name for each in session.get_inputs()}
    codes = json.loads(session.get_modelmeta().custom_metadata_map["codes"])
    painted = []
    for alpha in (1.0, 0.3):
        numbers = {name: (0.8 if name != "alpha" else alpha) for name in described if name not in NOT_NUMBERS}
        fed = {name: np.float32([value]) for name, value in numbers.items()} | {"content": content.numpy()}
        if codes:
            fed["code"] = np.float32([codes[PEOPLE[0]]])
            goal = model.stylize(content, prompt=PEOPLE[0], controls=numbers)
        else:
            fed["style"] = style.numpy()
            goal = model.stylize(content, style=style, controls=numbers)
        (picture,) = session.run(None, fed)
        assert picture.shape == content.shape
        assert float((torch.from_numpy(picture) - goal).abs().max()) <= FURTHEST
        painted.append(picture)
    assert np.abs(painted[0] - painted[1]).max() > 10 * FURTHEST  # the strength counts
    assert np.abs(painted[0] - content.numpy()).max() > 0.1


def test_a_file_says_what_it_is(exported, request):
    model, path, session, difference = exported
    known = session.get_modelmeta().custom_metadata_map
    assert known["method"] == model.method
    assert known["opset"] == str(onnx_file.OPSET)
    assert float(known["largest_difference"]) == pytest.approx(difference, rel=0.1)
    assert 0 < difference <= FURTHEST
    inputs = json.loads(known["inputs"])
    assert inputs[0]["shape"] == [1, 3, "content_height", "content_width"] == session.get_inputs()[0].shape
    assert all(each["low"] is None or each["low"] < each["high"] for each in inputs)
    assert json.loads(known["fixed"]) == FIXED.get(request.node.callspec.params["exported"], {})
    assert sorted(each.name for each in path.parent.iterdir()) == [path.name]  # no second file, nothing half-written


def test_the_example_of_the_documentation_runs(exported, tmp_path, monkeypatch):
    model, path, _, _ = exported
    if model.method != "contraast":
        pytest.skip("the example is written for one of them")
    (code,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert len(code.splitlines()) <= 12
    (tmp_path / "painter.onnx").write_bytes(path.read_bytes())
    from PIL import Image

    Image.fromarray(np.uint8(255 * random_picture(70, 90, 1)[0].permute(1, 2, 0).numpy())).save(tmp_path / "photo.jpg")
    Image.new("RGB", (80, 80), "teal").save(tmp_path / "painting.jpg")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "example.py").write_text(code)
    runpy.run_path("example.py")
    with Image.open("painted.png") as picture:
        assert picture.size == (90, 70)


def test_a_graph_that_paints_otherwise_is_not_written(tmp_path, monkeypatch):
    model = tiny("contraast")
    side = Given("content", (1, 3, "content_height", "content_width"), "")
    graph = Graph(Painting(nn.Identity(), lambda content: 0.9 * content, (side,)), (side,))
    monkeypatch.setattr(model, "portable", lambda *_: graph)
    monkeypatch.setattr(type(model), "stylize", lambda self, content, **_: content)
    with pytest.raises(ImpastoError, match=r"paints 0\.1 away from PyTorch, more than 0\.001: nothing was written"):
        write_onnx(model, tmp_path / "a.onnx", by="image", about={})
    assert not list(tmp_path.iterdir())


def test_sizes_of_the_comparison_are_neither_square_nor_the_exported_one():
    assert len({content for content, _ in onnx_file.CHECKED}) >= 3
    for height, width in (content for content, _ in onnx_file.CHECKED):
        assert height != width
        assert (height, width) != onnx_file.EXPORTED
        assert height % 16 or width % 16
