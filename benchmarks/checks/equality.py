"""The same numbers on the device as on the CPU: metrics, losses and whole paintings."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import torch
from torch import Tensor

from benchmarks.checks.case import Case, Place, Row, WrongFigureError, worst
from benchmarks.contenders.pictures import PIXEL_CASES
from benchmarks.contenders.sets import set_cases
from benchmarks.inference import paint, pictures, recipes
from benchmarks.metrics import photographs
from lightning_modules.checkpoints import build
from lightning_modules.losses.adversarial import hinge_discriminator, hinge_generator, least_squares, log_likelihood
from lightning_modules.losses.content import content_loss
from lightning_modules.losses.contrastive import supervised_contrastive_loss
from lightning_modules.losses.directional_clip import directional_clip_loss
from lightning_modules.losses.shared_attribute import arrange_pairs, shared_attribute_loss
from lightning_modules.losses.style import style_loss
from lightning_modules.losses.total_variation import total_variation

Loss = Callable[[Mapping[str, Tensor]], Tensor]

CPU = torch.device("cpu")
TOLERANCE = 1e-3
"""Largest relative difference of a metric, a loss or a gradient in float32, TF32 off."""
LEVELS = 2.0
"""Largest difference of a painting, in levels of 8 bits."""
LAYERS = {"relu1_1": (8, 32), "relu4_1": (32, 8)}
"""Channels and side of made-up maps."""


def cases(tiny: bool) -> list[Case]:
    """Return the checks of this file."""
    found = [Case("metrics, device against CPU", metrics, 60), Case("losses, device against CPU", losses, 30)]
    names = sorted(recipes()) if not tiny else sorted(recipes())[:1]
    return found + [Case(f"painting of {name}, device against CPU", partial(painting, name), 60) for name in names]


def metrics(place: Place) -> Iterator[Row]:
    """Compare the values of all metrics, as `benchmarks.metrics` calls them."""
    exact()
    yield worst(_metrics(place))


def losses(place: Place) -> Iterator[Row]:
    """Compare the losses that methods share, and their gradients."""
    exact()
    yield worst(_losses(place.device))


def _metrics(place: Place) -> Iterator[Row]:
    side = 48 if place.tiny else 256
    for name in PIXEL_CASES:
        yield compared(name, *(_ours(name, side, device) for device in (CPU, place.device)))
    rows = 40 if place.tiny else 400
    for (name, here), (_, there) in zip(*(set_cases(rows, device) for device in (CPU, place.device)), strict=True):
        yield compared(name, float(here[0].run()), float(there[0].run()))


def _losses(device: torch.device) -> Iterator[Row]:
    for name, loss in LOSSES.items():
        values, slopes = zip(*(_with_gradient(loss, at) for at in (CPU, device)), strict=True)
        yield compared(name, *values)
        yield compared(f"{name}, gradient", *slopes)


def painting(method: str, place: Place) -> Iterator[Row]:
    """Compare one painting, full-size networks with random weights."""
    exact()
    side = 32 if place.tiny else 256
    model = build(recipes("embedded" if place.tiny else "random")[method]).eval()
    content, style = pictures((side, side), side, 0, CPU)
    here = paint(model, content, style)
    there = paint(model.to(place.device), content.to(place.device), style.to(place.device)).cpu()
    apart = 255 * float((here - there).abs().max())
    if not apart <= LEVELS:
        raise WrongFigureError(f"the paintings are {apart:.2g} of 255 levels apart, more than {LEVELS:g}")
    yield Row("largest difference", apart, "of 255 levels")


def exact() -> None:
    """Multiply in float32, and draw the same every time."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.manual_seed(0)


def compared(name: str, here: float, there: float) -> Row:
    """Return the relative difference of two values.

    Raises:
        WrongFigureError: If it is larger than `TOLERANCE`.
    """
    apart = abs(there - here) / max(1e-6, abs(here))
    if not apart <= TOLERANCE:  # nan is none
        raise WrongFigureError(f"{name} is {there:.8g} on the device and {here:.8g} on the CPU")
    return Row(name, apart, "relative difference")


def _with_gradient(loss: Loss, device: torch.device) -> tuple[float, float]:
    """Return a loss of made-up inputs, and its slope in a fixed direction."""
    given = {name: part.to(device) for name, part in made_up().items()}
    for part in given.values():
        part.requires_grad_()
    value = loss(given)
    value.backward()  # type: ignore[no-untyped-call]
    direction = {name: part.to(device) for name, part in made_up(seed=1).items()}
    slopes = [(part.grad * direction[name]).sum() for name, part in given.items() if part.grad is not None]
    return float(value), float(torch.stack(slopes).sum())


def made_up(seed: int = 0) -> dict[str, Tensor]:
    """Return vectors, maps, scores and a picture, drawn on the CPU."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {
        "z": (16, 64),
        "w": (16, 64),
        "v": (16, 64),
        "u": (16, 64),
        "scores": (4, 1, 8, 8),
        "pictures": (2, 3, 32, 32),
    }
    for layer, (channels, side) in LAYERS.items():
        shapes |= {layer: (2, channels, side, side), f"other {layer}": (2, channels, side, side)}
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def _maps(given: Mapping[str, Tensor], prefix: str = "") -> dict[str, Tensor]:
    return {layer: given[f"{prefix}{layer}"] for layer in LAYERS}


def _labels(given: Mapping[str, Tensor]) -> Tensor:
    return torch.arange(16, device=given["z"].device) // 4


def _shared(given: Mapping[str, Tensor]) -> Tensor:
    contents, styles = arrange_pairs(8, given["z"].device)
    return shared_attribute_loss(torch.nn.functional.normalize(given["z"], dim=1), styles, contents)


LOSSES: dict[str, Loss] = {
    "content": lambda given: content_loss(_maps(given), _maps(given, "other "), list(LAYERS)),
    "style": lambda given: style_loss(_maps(given), _maps(given, "other ")),
    "supervised contrast": lambda given: supervised_contrastive_loss(given["z"], _labels(given)),
    "shared attribute": _shared,
    "directional CLIP": lambda given: directional_clip_loss(given["z"], given["w"], given["v"], given["u"]).mean(),
    "total variation": lambda given: total_variation(given["pictures"]),
    "hinge, generator": lambda given: hinge_generator([given["scores"]]),
    "hinge, discriminator": lambda given: hinge_discriminator([given["scores"]], [given["scores"].flip(0)]),
    "least squares": lambda given: least_squares([given["scores"]], real=True),
    "log likelihood": lambda given: log_likelihood([given["scores"]], real=True),
}


def _ours(name: str, side: int, device: torch.device) -> float:
    return float(PIXEL_CASES[name](*photographs(side, side, device))[0].run())
