"""Painters that ship: written from a run's checkpoint, read back by name, and refused in one sentence."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import nn

from lightning_modules import shipped
from lightning_modules.base import StyleTransferModule
from lightning_modules.checkpoints import checkpoint_class, load_checkpoint
from lightning_modules.errors import ImpastoError
from lightning_modules.networks.frozen import FrozenNetwork
from lightning_modules.shipped import checkpoint_file, painters, write_painter
from lightning_modules.weights import EMBEDDED

LENS = EMBEDDED / "vgg.json"  # any file that is there


class Lens(FrozenNetwork):
    def __init__(self):
        super().__init__("embedded")
        self.scale = nn.Parameter(torch.ones(3))
        self.read_from(LENS)
        self.freeze()


class Ledger(nn.Module):
    """State that is no tensor."""

    def __init__(self):
        super().__init__()
        self.entries = {}

    def get_extra_state(self):
        return self.entries

    def set_extra_state(self, state):
        self.entries = state


class Toner(StyleTransferModule):
    """Adds the colours that a ledger knows for a name."""

    conditions = frozenset({"text"})
    loss_parts = ("judge",)

    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.lens, self.judge, self.ledger = Lens(), nn.Linear(40, 40), Ledger()
        self.mix = nn.Conv2d(3, width, 1)
        self.register_buffer("steps", torch.tensor(2**40 + 1))
        self.register_buffer("gain", torch.tensor([1e6]))

    def _render(self, content, manner):
        colours = self.ledger.entries["colours"][self.ledger.entries["names"].index(manner.prompt[0])]
        return self.mix(content) * self.lens.scale[0] * (self.gain / 1e6) + colours.view(1, 3, 1, 1)

    def training_step(self, batch, batch_idx):
        raise NotImplementedError


@pytest.fixture
def toner():
    torch.manual_seed(0)
    toner = Toner().eval()
    toner.ledger.entries = {"names": ["Ada", "Cleo"], "colours": torch.rand(2, 3), "seen": [3, torch.tensor([1.5])]}
    toner.recipe = yaml.safe_dump({"class_path": f"{Toner.__module__}.Toner", "init_args": {"width": 3}})
    return toner


@pytest.fixture
def checkpoint(toner):
    checkpoint = {"state_dict": toner.state_dict()}
    toner.on_save_checkpoint(checkpoint)
    return checkpoint


@pytest.fixture
def shelf(checkpoint, tmp_path, monkeypatch):
    """A folder of embedded weights in which one painter lies beside a network."""
    monkeypatch.setattr(shipped, "EMBEDDED", tmp_path)
    (tmp_path / "vgg.json").write_text('{"widths": [1]}')
    save_file({"a": torch.ones(1)}, tmp_path / "vgg.safetensors")
    write_painter(checkpoint, tmp_path / "toner.safetensors", without=("judge",), measured={"ssim": 0.5})
    return tmp_path


def says(call, *words):
    with pytest.raises(ImpastoError) as raised:
        call()
    message = str(raised.value)
    assert all(word in message for word in words), message
    assert "\n" not in message


def test_a_painter_is_called_by_name_and_paints_as_before(shelf, toner):
    content = torch.rand(1, 3, 16, 16)
    for name in ("embedded:toner", shelf / "toner.safetensors"):
        again = load_checkpoint(name)
        assert not again.training
        assert yaml.safe_load(again.recipe) == yaml.safe_load(toner.recipe)
        for prompt in ("Ada", "Cleo"):
            away = again.stylize(content, prompt=prompt) - toner.stylize(content, prompt=prompt)
            assert 0 < float(away.abs().max()) < 2e-3
    assert checkpoint_class("embedded:toner") is type(again)
    assert painters() == ["toner"]
    assert checkpoint_file("embedded:toner") == shelf / "toner.safetensors"
    assert checkpoint_file(Path("embedded:toner")) == shelf / "toner.safetensors"
    assert checkpoint_file("runs/clast/latest") == Path("runs/clast/latest")


def test_what_is_no_half_precision_number_comes_back_as_it_was(shelf, toner):
    again = load_checkpoint("embedded:toner")
    assert int(again.steps) == 2**40 + 1
    assert float(again.gain) == 1e6  # beyond half precision
    entries = again.ledger.entries
    assert entries["names"] == ["Ada", "Cleo"]
    assert torch.allclose(entries["colours"], toner.ledger.entries["colours"], atol=1e-3)
    assert entries["colours"].dtype == torch.float32
    assert entries["seen"][0] == 3
    assert float(entries["seen"][1]) == 1.5


def test_a_file_holds_neither_frozen_networks_nor_what_only_losses_look_through(shelf):
    stored = load_file(shelf / "toner.safetensors")
    assert {name.split(".")[0] for name in stored} == {"mix", "steps", "gain", "ledger"}
    assert stored["mix.weight"].dtype == torch.float16
    described = json.loads((shelf / "toner.json").read_text())
    assert described["without"] == ["judge"]
    assert described["measured"] == {"ssim": 0.5}
    assert described["frozen"]["lens"].startswith("embedded; file ")


def test_a_run_must_have_all_its_tensors(checkpoint, tmp_path):
    path = tmp_path / "a.ckpt"
    del checkpoint["state_dict"]["judge.weight"]  # what a painter goes without a run does not
    torch.save(checkpoint, path)
    says(lambda: load_checkpoint(path), "1 tensors are missing", "judge.weight")


def test_a_name_that_nobody_has(shelf):
    for name in ("nonsense", "vgg", "", "../toner", "toner.safetensors"):
        says(lambda name=name: load_checkpoint(f"embedded:{name}"), f"'{name}'", "there is embedded:toner.")
    (shelf / "toner.json").unlink()
    says(lambda: load_checkpoint("embedded:toner"), "'toner'", "make embedded-weights ARGS=painters")


def test_a_missing_a_cut_off_and_another_file(shelf):
    file = shelf / "toner.safetensors"
    whole = file.read_bytes()
    for spoilt in (whole[: len(whole) // 2], b"", b"\x89PNG"):
        file.write_bytes(spoilt)
        says(lambda: load_checkpoint("embedded:toner"), "toner.safetensors is not a whole painter", "ARGS=painters")
    file.unlink()
    says(lambda: load_checkpoint("embedded:toner"), "toner.safetensors is missing: restore it from the repository")
    says(lambda: load_checkpoint(shelf / "vgg.safetensors"), "vgg.safetensors is not a whole painter", "no recipe")


def test_tensors_and_recipes_that_do_not_fit(shelf):
    file, described = shelf / "toner.safetensors", json.loads((shelf / "toner.json").read_text())
    stored = load_file(file)

    def with_json(**changes):
        (shelf / "toner.json").write_text(json.dumps({**described, **changes}))
        return lambda: load_checkpoint("embedded:toner")

    says(with_json(recipe={"class_path": "lightning_modules.nowhere.Toner"}), "cannot be configured")
    says(with_json(recipe={**described["recipe"], "init_args": {"width": 5}}), "tensors differ in shape", "mix.")
    says(with_json(recipe={**described["recipe"], "init_args": {"wdith": 5}}), "cannot be configured", "wdith")
    save_file({name: value for name, value in stored.items() if name != "mix.bias"}, file)
    says(with_json(), "1 tensors are missing", "mix.bias")
    save_file({name: value for name, value in stored.items() if "colours" not in name}, file)
    says(with_json(), "not a whole painter", "ledger._extra_state/colours")
    (shelf / "toner.json").write_text('{"recipe": ')
    says(lambda: load_checkpoint("embedded:toner"), "not a whole painter", "JSONDecodeError")


def test_a_painter_of_another_encoder_than_the_present_one_is_refused(shelf, monkeypatch):
    other = shelf / "encoder"
    other.write_text("trained anew")
    monkeypatch.setitem(Lens.__init__.__globals__, "LENS", other)
    says(lambda: load_checkpoint("embedded:toner"), "another file of lens weights", "'embedded'", "train again")


def test_a_checkpoint_that_does_not_say_how_it_was_configured_is_not_written(checkpoint, tmp_path):
    checkpoint["impasto"]["recipe"] = None
    says(lambda: write_painter(checkpoint, tmp_path / "a.safetensors", measured={}), "how its model was configured")
    says(lambda: write_painter({"state_dict": {}}, tmp_path / "a.safetensors", measured={}), "not written by Impasto")
    assert not list(tmp_path.iterdir())


def test_signatures_of_embedded_networks_name_their_file():
    from lightning_modules import weights

    for network in (weights.load_vgg("embedded"), weights.load_clip("embedded")):
        assert network.source == "embedded"
        assert network.signature.startswith("embedded; file ")
    assert weights.load_vgg("random").signature == "random"


# ---- what lies in assets/embedded ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", painters())
def test_a_painter_that_ships_loads_and_paints(name):
    painter = load_checkpoint(f"embedded:{name}")
    assert painter.method == name
    content = torch.rand(1, 3, 40, 56, generator=torch.Generator().manual_seed(0))
    condition = {"prompt": "Dominic Vitrail"} if "text" in painter.conditions else {"style": content.flip(3)}
    picture = painter.stylize(content, **condition)
    assert picture.shape == content.shape
    assert bool(picture.isfinite().all())
    assert float((picture - content).abs().mean()) > 0.01
    measured = json.loads((EMBEDDED / f"{name}.json").read_text())["measured"]
    assert measured["half_mean"] <= 0.5 / 255


def test_all_painters_that_ship_take_six_megabytes_at_most():
    files = [EMBEDDED / f"{name}.safetensors" for name in painters()]
    assert sum(file.stat().st_size for file in files) <= 6e6


def test_a_method_with_a_painters_profile_has_a_painter_or_none_has():
    profiles = sorted(path.parent.name for path in EMBEDDED.parents[1].glob("experiments/*/painter.yaml"))
    weights = sorted(path.stem for path in EMBEDDED.glob("*.safetensors") if path.stem in profiles)
    assert painters() == weights
    assert painters() in (profiles, [])
