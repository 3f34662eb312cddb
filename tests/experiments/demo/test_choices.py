import os

import pytest

from experiments.demo.choices import Choice, Offer, Studio, find_choices
from lightning_modules import shipped
from lightning_modules.errors import ImpastoError


def test_runs_come_first_then_what_ships_then_what_needs_no_training(trained, tmp_path):
    labels = [choice.label for choice in find_choices(trained.parents[1])]
    assert labels[0] == "stub_method/a, last"
    assert not any("latest" in label for label in labels)
    shipped_ones = [f"embedded:{name}" for name in shipped.painters()]
    assert labels[1:] == [*shipped_ones, "gatys, without a checkpoint", "least, without a checkpoint"]
    assert [choice.label for choice in find_choices(tmp_path)] == labels[1:]


def test_the_newest_checkpoint_is_the_first(tmp_path):
    for age, name in enumerate(("new", "old")):
        path = tmp_path / f"clast/{name}/checkpoints/last.ckpt"
        path.parent.mkdir(parents=True)
        path.touch()
        os.utime(path, (1000 - age, 1000 - age))
    assert [choice.label for choice in find_choices(tmp_path)][:2] == ["clast/new, last", "clast/old, last"]


def test_a_link_that_leads_nowhere_paints_nothing(tmp_path):
    path = tmp_path / "clast/moved/checkpoints/last.ckpt"
    path.parent.mkdir(parents=True)
    path.symlink_to(tmp_path / "gone.ckpt")
    assert not any(choice.label.startswith("clast/") for choice in find_choices(tmp_path))


def test_a_profile_counts_where_a_method_has_it(tmp_path):
    configs = {choice.label[:5]: choice.config for choice in find_choices(tmp_path, "cpu") if choice.config}
    assert {name: path.name for name, path in configs.items()} == {"least": "cpu.yaml", "gatys": "tiny.yaml"}
    with pytest.raises(ImpastoError, match="no profile 'nonsense'"):
        find_choices(tmp_path, "nonsense")


def test_what_a_painter_takes_is_known_without_its_networks(easel, monkeypatch):
    monkeypatch.setattr("experiments.demo.choices.open_any", None)
    offers = {label: easel.studio.offer(label) for label in easel.studio.labels}
    assert {label for label, offer in offers.items() if offer.either} == {"stub"}
    assert {label for label, offer in offers.items() if offer.draws} == {"dreamer"}
    assert {label for label, offer in offers.items() if offer.optimises} == {"stepper"}
    assert [control.name for control in offers["dreamer"].controls] == ["gain", "strength", "seed"]
    assert offers["dreamer"].controls[0].default == 0.9  # as it was trained with
    assert [control.name for control in offers["stepper"].controls] == ["alpha", "iterations", "seed"]


@pytest.mark.parametrize("label", ["/etc/passwd", "../runs/clast", "", None, 3, ["stub"]])
def test_only_the_list_counts(easel, label):
    for ask in (easel.studio.offer, easel.studio.model):
        with pytest.raises(ImpastoError, match="not in the list"):
            ask(label)


def test_a_checkpoint_that_is_written_anew_is_loaded_anew(trained, tmp_path):
    path = tmp_path / "last.ckpt"
    path.write_bytes((trained / "checkpoints/last.ckpt").read_bytes())
    studio = Studio([Choice("a", path)], "cpu")
    first = studio.model("a")
    assert studio.model("a") is first
    os.utime(path, (1, 1))
    assert studio.model("a") is not first


def test_a_damaged_checkpoint_is_one_sentence(tmp_path):
    path = tmp_path / "last.ckpt"
    path.write_bytes(b"no checkpoint")
    with pytest.raises(ImpastoError, match="not a checkpoint that can be read safely"):
        Studio([Choice("a", path)], "cpu").offer("a")


def offer(takes, requires=()):
    return Offer("X", frozenset(takes), frozenset(requires), draws=False, optimises=False, controls=())


@pytest.mark.parametrize(
    ("offered", "by", "uses"),
    [
        (offer({"text", "image"}), "text", {"text"}),
        (offer({"text", "image", "region"}), "image", {"image", "region"}),
        (offer({"text", "image"}, {"text", "image"}), "text", {"text", "image"}),
        (offer({"image"}), "text", {"image"}),
        (offer({"text", "region"}, {"text"}), "image", {"text", "region"}),
    ],
)
def test_of_two_ways_to_say_a_style_the_chosen_one_counts(offered, by, uses):
    assert offered.uses(by) == uses
