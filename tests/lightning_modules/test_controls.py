import pytest

from lightning_modules.controls import Control, resolve_controls
from lightning_modules.errors import ImpastoError

BLUR = Control("prior_blur", 7.0, "Blur of the prior, in pixels.", low=0.0, high=64.0)
STEPS = Control("steps", 50, "Denoising steps.", low=1)
SHARP = Control("sharp", False, "Whether edges stay sharp.")
SAMPLER = Control("sampler", "ddim", "The sampler.", choices=("ddim", "pndm"))
ALL = (BLUR, STEPS, SHARP, SAMPLER)


def test_every_control_has_a_value_and_texts_stand_for_values():
    assert resolve_controls(ALL, None, "M") == {"prior_blur": 7.0, "steps": 50, "sharp": False, "sampler": "ddim"}
    given = {"prior-blur": "12.5", "steps": "20", "sharp": "true", "sampler": "pndm"}
    found = resolve_controls(ALL, given, "M")
    assert found == {"prior_blur": 12.5, "steps": 20, "sharp": True, "sampler": "pndm"}
    assert [type(value) for value in found.values()] == [float, int, bool, str]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"blur": 1}, "M has no control 'blur': it has prior_blur, steps, sharp, sampler"),
        ({"prior_blur": 65}, "prior_blur takes 0 to 64, not 65"),
        ({"prior_blur": "nan"}, "prior_blur takes 0 to 64"),
        ({"prior_blur": "wide"}, "prior_blur takes 0 to 64, not 'wide'"),
        ({"steps": 0}, "steps takes whole number from 1, not 0"),
        ({"steps": 2.5}, "steps takes whole number from 1, not 2.5"),
        ({"steps": "inf"}, "steps takes whole number from 1"),
        ({"steps": True}, "steps takes whole number from 1, not True"),
        ({"sharp": "maybe"}, "sharp takes true or false, not 'maybe'"),
        ({"sampler": "euler"}, "sampler takes ddim or pndm, not 'euler'"),
    ],
)
def test_what_does_not_fit_is_one_sentence(given, words):
    with pytest.raises(ImpastoError, match=r"^[^\n]+$") as failure:
        resolve_controls(ALL, given, "M")
    assert words in str(failure.value)


def test_a_method_without_controls_says_so():
    assert resolve_controls((), {}, "M") == {}
    with pytest.raises(ImpastoError, match="M has no control 'a': it has none"):
        resolve_controls((), {"a": 1}, "M")


def test_a_control_describes_itself():
    assert STEPS.describe() == "--steps (whole number from 1, default 50): Denoising steps."
    assert SHARP.describe() == "--sharp (true or false, default false): Whether edges stay sharp."
    assert SAMPLER.describe() == "--sampler (ddim or pndm, default ddim): The sampler."
    assert Control("shift", 0.0, "Any.").takes() == "any number"
    assert Control("low", 0.0, "Any.", high=1.0).takes() == "up to 1"
