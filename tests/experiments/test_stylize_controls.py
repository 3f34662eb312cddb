"""Controls of a method as options of `impasto stylize`, in its help and in YAML, for whatever a method declares."""

import numpy as np
import pytest
import yaml
from PIL import Image

from experiments.cli import execute
from experiments.painting import inference


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A photograph and the profile of a method with one control, `--shade`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(inference, "FOLDER", tmp_path)
    Image.new("RGB", (40, 24), (200, 100, 50)).save(tmp_path / "a.png")
    (tmp_path / "shader").mkdir()
    settings = {"model": {"class_path": "stub_method.Shader"}, "data": {"class_path": "stub_method.StubData"}}
    (tmp_path / "shader/tiny.yaml").write_text(yaml.safe_dump(settings))
    return tmp_path


def shade(*arguments):
    fixed = ["--method", "shader", "--device", "cpu", "--prompt", "dark", "--content", "a.png", "--out", "o.png"]
    return execute(["stylize", *fixed, *arguments])


def red():
    return int(np.asarray(Image.open("o.png"))[0, 0, 0])


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), 100),
        (("--shade", "0.75"), 50),
        (("--shade=0.75",), 50),
        (("--set", "shade=0", "--shade", "0.75"), 50),  # the last one counts
        (("--shade", "0.75", "--set", "shade=0"), 200),
    ],
)
def test_a_control_is_an_option(arguments, expected):
    assert shade(*arguments) == 0
    assert red() == expected


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("--shade", "7"), 1, "The control shade takes 0 to 1, not '7'"),
        (("--shade", "dark"), 1, "The control shade takes 0 to 1, not 'dark'"),
        (("--shaed", "1"), 2, "does not take --shaed (did you mean '--shade'?)"),
        (("--promt", "x"), 2, "does not take --promt (did you mean '--prompt'?)"),
        (("--set", "shde=1"), 1, "Shader has no control 'shde': it has alpha, shade"),
    ],
)
def test_what_does_not_fit_is_one_sentence(capsys, arguments, status, words):
    assert shade(*arguments) == status
    written = capsys.readouterr()
    assert words in written.err
    assert written.err.count("\n") == 1


@pytest.mark.usefixtures("place")
def test_an_unknown_option_needs_no_method(capsys):
    arguments = ["--content", "a.png", "--prompt", "x", "--out", "o.png", "--shade", "1"]
    assert execute(["stylize", "--checkpoint", "nowhere.ckpt", *arguments]) == 1
    assert "There is no checkpoint at nowhere.ckpt" in capsys.readouterr().err
    assert execute(["demo", "--prt", "1"]) == 2
    assert "`impasto demo` does not take --prt (did you mean '--port'?)" in capsys.readouterr().err


def test_yaml_has_the_defaults(place, capsys):
    settings = yaml.safe_load((place / "shader/tiny.yaml").read_text())
    settings["model"]["init_args"] = {"controls": {"shade": 0.25}}
    (place / "shader/pale.yaml").write_text(yaml.safe_dump(settings))
    assert shade("--profile", "pale") == 0
    assert red() == 150
    assert shade("--profile", "pale", "--shade", "1") == 0
    assert red() == 0
    with pytest.raises(SystemExit):
        execute(["stylize", "--method", "shader", "--profile", "pale", "--help"])
    assert "--shade (0 to 1, default 0.25): How dark it gets." in capsys.readouterr().out


def test_help_lists_the_controls_of_the_method_at_hand(place, capsys, trained):
    for model in (["--method", "shader"], ["--method=shader"], ["--config", str(place / "shader/tiny.yaml")]):
        with pytest.raises(SystemExit):
            execute(["stylize", *model, "--help"])
        printed = capsys.readouterr().out
        assert "  --shade (0 to 1, default 0.5): How dark it gets.\n" in printed
        assert "  --alpha (0 to 3, default 1): Strength: " in printed
    with pytest.raises(SystemExit):
        execute(["stylize", "--checkpoint", str(trained), "-h"])
    assert "controls of Stub, also as --set" in capsys.readouterr().out
