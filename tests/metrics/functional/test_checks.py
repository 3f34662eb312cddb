"""The shared checks, and that nothing in the package takes an option without them."""

import importlib
import inspect
import pkgutil
from typing import Literal, get_args, get_origin, get_type_hints

import pytest
import torch
from torch import nn

import metrics
from lightning_modules.errors import ImpastoError
from metrics.functional.chamfer import color_chamfer
from metrics.functional.checks import check_finite, check_layers, check_maps, check_sets, check_vectors, one_of
from metrics.functional.clip_score import clip_score, cosine, directional_score
from metrics.functional.frechet import frechet_of_maps
from metrics.functional.gram import gram_distance
from metrics.functional.style_distance import style_distance
from metrics.functional.style_vector import similarity_of_sums

# Named in a complaint or found since: what must be among the options that the walk below finds.
KNOWN = {
    "FlowWarpedError.norm", "FlowWarpedError.average", "TemporalLPIPS.average", "DeceptionRate.average",
    "ColorChamfer.direction", "ColorChamfer.space", "ColorChamfer.search", "GramDistance.form", "StyleLoss.form",
    "KID.std", "CMMD.estimator", "CSD.form", "SIFID.channels", "ClipFeatures.preprocess", "InceptionFeatures.front_end",
    "Judges.weights", "load_extractor.name", "load_extractor.weights", "load_extractor.front_end", "prepare.front_end",
    "describe.front_end", "color_chamfer.direction", "color_chamfer.space", "color_chamfer.search",
    "gram_distance.form", "style_distance.form", "style_similarity.form", "similarity_of_sums.form",
    "warped_error.norm",
}  # fmt: skip


def literals(hint):
    """Return all choices that an annotation names."""
    if get_origin(hint) is Literal:
        return get_args(hint)
    return tuple(choice for part in get_args(hint) for choice in literals(part))


def walk():
    """Yield every public function, constructor and method of the package with the options that it takes."""
    for info in pkgutil.walk_packages(metrics.__path__, "metrics."):
        module = importlib.import_module(info.name)
        for name, thing in vars(module).items():
            if name.startswith("_") or getattr(thing, "__module__", "") != info.name:
                continue
            if inspect.isclass(thing):
                yield name, thing, thing.__init__
                methods = inspect.getmembers(thing, inspect.isfunction)
                yield from ((f"{name}.{m}", None, method) for m, method in methods if not m.startswith("_"))
            elif inspect.isfunction(thing):
                yield name, thing, thing


def options():
    found = {}
    for name, call, signed in walk():
        hints = {key: literals(hint) for key, hint in get_type_hints(signed).items() if key != "return"}
        found |= {f"{name}.{key}": (call, key, choices) for key, choices in hints.items() if choices}
    return found


OPTIONS = options()


class Anything(nn.Module):
    """Passes for any network."""

    artists = ("Ada", "Bo", "Cy")


def required(call):
    """Return something for every argument that has no default; the option must be looked at before any of them."""
    hints = get_type_hints(call.__init__ if inspect.isclass(call) else call)
    parameters = inspect.signature(call).parameters.values()
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needed = [p.name for p in parameters if p.default is p.empty and p.kind not in kinds]
    return {name: next(iter(literals(hints[name])), Anything()) for name in needed}


def test_the_walk_finds_what_is_known():
    assert OPTIONS.keys() >= KNOWN
    assert [name for name, (call, _, _) in OPTIONS.items() if call is None] == []  # no method takes an option


@pytest.mark.parametrize("name", [name for name, (call, _, _) in OPTIONS.items() if not inspect.isabstract(call)])
def test_every_option_is_refused_with_the_list_of_choices(name):
    call, key, choices = OPTIONS[name]
    spelt = {str(choice) for choice in choices if choice is not None}
    for wrong in ("no such choice", *(word.upper() for word in spelt if word.upper() != word), 7, ""):
        with pytest.raises(ImpastoError, match="There is no ") as caught:
            call(**required(call) | {key: wrong})
        assert repr(wrong) in str(caught.value)
        assert str(caught.value).endswith(f"take one of {', '.join(map(str, choices))}.")
        assert "\n" not in str(caught.value)


def test_a_choice_is_returned():
    assert one_of("a", Literal["a", "b"], "letter") == "a"
    assert one_of(64, Literal[64, 192], "number") == 64


# ---- shapes ------------------------------------------------------------------------------------------------------


def maps(batch, channels=3):
    return torch.rand(batch, channels, 4, 4, generator=torch.Generator().manual_seed(batch))


def vectors(batch, width=5):
    return torch.rand(batch, width, generator=torch.Generator().manual_seed(batch))


@pytest.mark.parametrize("measure", [gram_distance, style_distance], ids=lambda f: f.__name__)
@pytest.mark.parametrize("other", [maps(1), maps(3, 1), maps(3)[0], maps(3)[..., :0]], ids=str)
def test_one_map_is_never_repeated_for_all(measure, other):
    for sides in (({"a": maps(3)}, {"a": other}), ({"a": other}, {"a": maps(3)})):
        with pytest.raises(ImpastoError, match="The maps a "):
            measure(*sides)


@pytest.mark.parametrize("measure", [gram_distance, style_distance], ids=lambda f: f.__name__)
def test_layers_must_be_there(measure):
    with pytest.raises(ImpastoError, match="no layer to compare"):
        measure({}, {})
    with pytest.raises(ImpastoError, match="layer a is on one side only, the other has b"):
        measure({"a": maps(2)}, {"b": maps(2)})
    assert measure({"a": maps(2)}, {"a": maps(2), "b": maps(3)}).tolist() == [0, 0]
    assert measure({"a": maps(2)[:0]}, {"a": maps(2)[:0]}).shape == (0,)


def test_places_of_two_pictures_are_pairs():
    for other in (maps(1), maps(3, 1)):
        with pytest.raises(ImpastoError, match="same B and C"):
            frechet_of_maps(maps(3), other)
    assert frechet_of_maps(maps(3)[:0], maps(3)[:0]).shape == (0,)


@pytest.mark.parametrize("other", [vectors(1), vectors(3, 1), vectors(3)[0]], ids=str)
def test_one_vector_is_never_repeated_for_all(other):
    for a, b in ((vectors(3), other), (other, vectors(3))):
        for measure in (cosine, clip_score):
            with pytest.raises(ImpastoError, match=r"must be \(B, D\) on all sides"):
                measure(a, b)
        with pytest.raises(ImpastoError, match="must have one shape on both sides"):
            similarity_of_sums(a, torch.ones(3), b, torch.ones(3))
    sides = [vectors(3), vectors(3), vectors(3), vectors(3)]
    for place in range(3):  # the origin alone may be one for all
        with pytest.raises(ImpastoError, match=r"must be \(B, D\) on all sides"):
            directional_score(*sides[:place], other, *sides[place + 1 :])
    assert cosine(vectors(3)[:0], vectors(3)[:0]).shape == (0,)


def test_sets_of_two_spaces_do_not_compare():
    with pytest.raises(ImpastoError, match=r"\(n, D\) and \(m, D\), got \(3, 5\) and \(3, 4\)"):
        check_sets(vectors(3), vectors(3, 4))
    check_sets(vectors(3), vectors(1))


def test_layers_count_once():
    assert check_layers(["a", "b"], {"a": 1, "b": 2, "c": 3}) == ("a", "b")
    assert check_layers("relu1_1", None) == ("relu1_1",)
    for layers, words in (([], "each once, got none"), (["a", "a"], "each once, got a, a"), (["x"], "no layer 'x'")):
        with pytest.raises(ImpastoError, match=words):
            check_layers(layers, ("a", "b"))


def test_what_fits_is_left_alone():
    check_vectors(vectors(3), vectors(3))
    check_maps({"a": maps(3)}, {"a": maps(3)[..., :2]})
    values = torch.tensor([0.0, 1e38])
    assert check_finite(values, "number") is values
    for bad in (torch.nan, torch.inf, -torch.inf):
        with pytest.raises(ImpastoError, match="A number is nan or infinite"):
            check_finite(torch.tensor([0.0, bad]), "number")


def test_an_empty_batch_of_pictures_has_no_values():
    assert color_chamfer(torch.rand(0, 3, 4, 4), torch.rand(0, 3, 5, 5)).shape == (0,)
