import subprocess
import sys

import pytest
import torch

from lightning_modules import torchvision_shim
from lightning_modules.errors import ImpastoError
from lightning_modules.torchvision_shim import install, nms


def brute_force_nms(boxes, scores, threshold):
    boxes, scores = boxes.double().tolist(), scores.double().tolist()
    order = sorted(range(len(scores)), key=lambda index: -scores[index])
    kept = []
    for index in order:
        if all(overlap(boxes[index], boxes[other]) <= threshold for other in kept):
            kept.append(index)
    return kept


def overlap(a, b):
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return width * height / union if union else 0.0


def random_boxes(count, seed):
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * 50
    size = torch.rand(count, 2, generator=generator) * 40
    return torch.cat([corner, corner + size], dim=1).double(), torch.rand(count, generator=generator).double()


@pytest.mark.parametrize("count", [0, 1, 2, 40])
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7, 1.0])
def test_nms_equals_brute_force(count, threshold):
    for seed in range(5):
        boxes, scores = random_boxes(count, seed)
        kept = nms(boxes, scores, threshold)
        assert kept.dtype == torch.int64
        assert kept.tolist() == brute_force_nms(boxes, scores, threshold)


def test_nms_keeps_the_first_of_equal_scores_and_boxes_without_area():
    boxes = torch.tensor([[0.0, 0, 4, 4], [0, 0, 4, 4], [2, 2, 2, 2], [2, 2, 2, 2]])
    assert nms(boxes, torch.ones(4), 0.5).tolist() == [0, 2, 3]


def test_torchvision_operators_answer_through_the_public_door():
    from torchvision.ops import batched_nms, roi_align
    from torchvision.ops import nms as public_nms

    boxes, scores = random_boxes(30, seed=7)
    assert public_nms(boxes, scores, 0.3).tolist() == brute_force_nms(boxes, scores, 0.3)
    groups = torch.arange(30) % 2
    kept = batched_nms(boxes, scores, groups, 0.3)
    for group in (0, 1):
        members = torch.nonzero(groups == group).flatten()
        expected = members[brute_force_nms(boxes[members], scores[members], 0.3)]
        assert [index for index in kept.tolist() if groups[index] == group] == expected.tolist()
    assert roi_align(torch.rand(1, 3, 8, 8), [torch.tensor([[0.0, 0, 4, 4]])], 2).shape == (1, 3, 2, 2)


def test_install_twice_adds_one_finder():
    before = list(sys.meta_path)
    install()
    install()
    assert sys.meta_path == before


def test_a_gpu_build_whose_torchvision_does_not_load_is_told_what_to_install(monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    with pytest.raises(ImpastoError, match="install the torchvision that was built for it"):
        torchvision_shim._define_operators()


@pytest.mark.parametrize("first", ["lightning_modules", "datamodules", "callbacks", "metrics"])
def test_each_package_installs_the_shim_without_importing_torch(first):
    code = f"import sys, {first}; print(any('torchvision_shim' in type(f).__module__ for f in sys.meta_path))"
    code += "; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert result.stdout.split() == ["True", "False"]


def test_libraries_that_need_torchvision_import_in_a_fresh_process():
    code = "import lightning_modules, torchvision, lpips, open_clip; print(torchvision.models.vgg19.__name__)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert result.stdout.split() == ["vgg19"]
