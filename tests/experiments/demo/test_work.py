import threading

import pytest
import torch

from experiments.demo.sessions import Sessions, StoppedError
from experiments.demo.work import Wish
from experiments.painting.inference import TooLargeError
from lightning_modules.errors import ImpastoError


def test_a_photograph_is_painted_at_the_size_that_is_asked_for(easel, photograph):
    painting = easel.paint("stub", Wish(photograph, prompt="a"))
    assert painting.after.shape == painting.before.shape == (3, 20, 30)
    assert painting.device == "cpu"
    assert painting.seconds > 0
    assert easel.paint("stub", Wish(photograph, prompt="a", size=40)).after.shape == (3, 40, 60)
    assert easel.paint("stub", Wish(photograph, prompt="a", size=600)).after.shape == (3, 43, 64)  # the page's side


def test_controls_are_the_painters(easel, photograph):
    none = easel.paint("stub", Wish(photograph, prompt="a", controls={"alpha": 0.0, "seed": 3}))
    assert torch.allclose(none.after, photograph)
    with pytest.raises(ImpastoError, match=r"The control alpha takes 0 to 3"):
        easel.paint("stub", Wish(photograph, prompt="a", controls={"alpha": 7.0}))
    with pytest.raises(ImpastoError, match="no control 'gain'"):
        easel.paint("stub", Wish(photograph, prompt="a", controls={"gain": 1.0}))


def test_what_a_painter_does_not_take_is_left_out(easel, photograph):
    black = torch.zeros(3, 8, 8)
    grey = easel.paint("grey", Wish(photograph, style=black, prompt="white", by="image"))
    assert float(grey.after.min()) == 1
    dark = easel.paint("stepper", Wish(photograph, style=black, prompt="white", region=torch.zeros(1, 4, 4)))
    assert float(dark.after.max()) == 0


@pytest.mark.parametrize(
    ("label", "wish", "words"),
    [
        ("stub", {"prompt": "a"}, "no photograph"),
        ("stub", {"photograph": torch.ones(3, 9, 9), "prompt": "  "}, "no prompt yet: name a style"),
        ("stub", {"photograph": torch.ones(3, 9, 9), "prompt": "a", "by": "image"}, "no style picture"),
        ("stepper", {"photograph": torch.ones(3, 9, 9), "prompt": "a"}, "no style picture"),
        ("dreamer", {"photograph": torch.ones(3, 9, 9)}, "no prompt yet: say what to draw"),
    ],
)
def test_what_is_missing_is_said_before_anything_is_loaded(easel, monkeypatch, label, wish, words):
    monkeypatch.setattr("experiments.demo.choices.open_any", None)
    with pytest.raises(ImpastoError, match=words):
        easel.paint(label, Wish(**wish))


def test_a_drawing_needs_no_photograph_and_may_start_from_one(easel, photograph):
    drawn = easel.paint("dreamer", Wish(prompt="a pond"))
    assert drawn.before is None
    assert drawn.after.shape == (3, 16, 24)
    assert easel.paint("dreamer", Wish(prompt="a pond", size=32)).after.shape == (3, 32, 32)
    other = easel.paint("dreamer", Wish(prompt="a pond", controls={"seed": 1}))
    assert not torch.equal(other.after, drawn.after)
    kept = easel.paint("dreamer", Wish(photograph, prompt="a pond", controls={"strength": 0.0}))
    assert torch.allclose(kept.after, photograph, atol=1e-2)
    assert kept.after.shape == (3, 20, 30)


# ---- regions ---------------------------------------------------------------------------------------------------------

LEFT = torch.zeros(1, 20, 30)
LEFT[..., :15] = 1


def test_only_a_region_is_painted(easel, photograph):
    painted = easel.paint("grey", Wish(photograph, prompt="black", region=LEFT)).after
    assert float(painted[..., :15].max()) == 0
    assert torch.equal(painted[..., 15:], photograph[..., 15:])


def test_a_drawn_region_is_the_one_that_the_prompt_speaks_of(easel, photograph):
    said = []
    painted = easel.paint(
        "grey", Wish(photograph, prompt="apply black to the boat", region=LEFT), say=said.append
    ).after
    assert float(painted[..., :15].max()) == 0
    assert torch.equal(painted[..., 15:], photograph[..., 15:])
    assert not said


def test_two_styles_do_not_share_a_drawn_region(easel, photograph):
    two = "apply black to the boat and white to the sky"
    with pytest.raises(ImpastoError, match="One region is drawn"):
        easel.paint("grey", Wish(photograph, prompt=two, region=LEFT))


def test_a_place_in_words_that_nobody_here_finds_is_to_be_drawn(easel, photograph):
    with pytest.raises(ImpastoError, match="Nobody here finds 'boat' in the photograph: draw it"):
        easel.paint("grey", Wish(photograph, prompt="apply black to the boat"))


def test_a_place_in_words_is_looked_up(easel, photograph, monkeypatch):
    from lightning_modules.grounding import GivenMask

    monkeypatch.setattr("experiments.demo.work.find_grounder", lambda *_: GivenMask(LEFT))
    painted = easel.paint("grey", Wish(photograph, prompt="apply black to the boat")).after
    assert float(painted[..., :15].max()) == 0
    assert torch.equal(painted[..., 15:], photograph[..., 15:])


# ---- who waits for whom ----------------------------------------------------------------------------------------------


def test_iterations_are_told_and_a_stop_ends_them(easel, photograph):
    wish = Wish(photograph, style=photograph, controls={"iterations": 3})
    told = []
    easel.paint("stepper", wish, lambda step, steps, _: told.append((step, steps)))
    assert told == [(0, 3), (1, 3), (2, 3)]
    sessions = Sessions()
    with sessions.running("mine") as go_on:

        def once(*_):
            go_on()
            sessions.stop("mine")

        with pytest.raises(StoppedError):
            easel.paint("stepper", wish, once)
    assert easel.studio.model("stepper").on_iteration is None
    easel.paint("stepper", wish)


def test_two_users_paint_one_after_the_other(easel, photograph):
    busy, most, shades = [], [], {}

    def watch(step, *_):
        if step == 0:
            busy.append(1)
        most.append(len(busy))
        if step == 49:
            busy.pop()

    def ask(shade):
        style = torch.full((3, 8, 8), shade)
        wish = Wish(photograph, style=style, controls={"iterations": 50})
        shades[shade] = float(easel.paint("stepper", wish, watch).after.mean() / photograph.mean())

    users = [threading.Thread(target=ask, args=(shade / 4,)) for shade in range(1, 5)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    assert max(most) == 1
    assert len(most) == 200
    assert {round(mine, 4): asked for asked, mine in shades.items()} == {k / 4: k / 4 for k in range(1, 5)}


def test_a_picture_beyond_the_memory_is_one_sentence(easel, photograph, monkeypatch):
    def full(*_, **__):
        raise TooLargeError("too much; shrink with --max-side 1024")

    monkeypatch.setattr("experiments.demo.work.paint", full)
    with pytest.raises(ImpastoError, match=r"does not fit into memory: choose a smaller size\.$"):
        easel.paint("stub", Wish(photograph, prompt="a"))
