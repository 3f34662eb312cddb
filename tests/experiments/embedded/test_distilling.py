"""The closed form that the slim encoder starts from, with a small teacher in the place of `hed`."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from experiments.embedded import distilling
from experiments.embedded.distilling import CARRIERS, WIDTHS, Teacher, start
from lightning_modules.networks.vgg import VGG16_HED, VGGEncoder, VGGTrunk

# As wide as the student at least: a layer keeps a choice of the teacher's channels.
SMALL = replace(VGG16_HED, widths=(16, 32, 64, 128, 128), std=(0.25, 0.25, 0.25))


@pytest.fixture(scope="module")
def images() -> Tensor:
    coarse = torch.rand(12, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    return F.interpolate(coarse, size=(48, 48), mode="bicubic").clamp(0, 1)


@pytest.fixture(scope="module")
def teacher(images: Tensor) -> Teacher:
    torch.manual_seed(0)
    trunk = VGGTrunk(SMALL)
    for conv in trunk.convs.values():
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distilling, "load_vgg", lambda _: VGGEncoder(trunk, "a small teacher"))
        return Teacher(images)


@pytest.fixture(scope="module")
def student(teacher: Teacher, images: Tensor) -> VGGTrunk:
    return start(teacher, images, torch.Generator().manual_seed(0))


def test_the_teacher_continues_pictures_as_the_student_does(teacher: Teacher) -> None:
    flat = teacher.encoder(torch.full((1, 3, 32, 32), 0.3), ["relu5_1"])["relu5_1"]
    torch.testing.assert_close(flat, flat[..., :1, :1].expand_as(flat))


def test_every_layer_keeps_its_share_of_different_channels(teacher: Teacher) -> None:
    assert list(teacher.chosen) == [name for name, _ in VGG16_HED.layers()]
    for name, chosen in teacher.chosen.items():
        block = int(name[0]) - 1
        assert len(chosen.unique()) == WIDTHS[block] - CARRIERS[block], name


def test_the_closed_form_explains_the_first_layers_and_never_does_harm(
    teacher: Teacher, student: VGGTrunk, images: Tensor
) -> None:
    with torch.no_grad():
        shares = teacher.unexplained(images, student(images, teacher.layers))
    assert float(shares[:2].max()) < 0.05
    assert float(shares.max()) < 0.9


def test_carriers_start_as_the_picture_on_the_grid_of_their_layer(student: VGGTrunk, images: Tensor) -> None:
    with torch.no_grad():
        maps = student(images, ["relu1_1", "relu3_1", "relu4_1"])
    for layer, first, side in (("relu1_1", 12, 1), ("relu3_1", 48, 2), ("relu4_1", 96, 2)):
        block = int(layer[4]) - 1
        pixels = F.pixel_unshuffle(F.avg_pool2d(images, 2**block // side), side)
        carried = maps[layer][:, first : first + pixels.shape[1]]
        lost = (carried - 5 * pixels).square().mean() / (5 * pixels).var()
        assert float(lost) < 0.1, layer


def test_convolutions_that_the_teacher_lacks_start_as_the_identity(student: VGGTrunk, images: Tensor) -> None:
    maps = student(images, ["relu3_3", "relu3_4"])
    torch.testing.assert_close(maps["relu3_3"], maps["relu3_4"])
