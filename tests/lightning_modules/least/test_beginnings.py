"""Where a painting begins."""

import pytest
import torch

from lightning_modules.errors import ImpastoError
from lightning_modules.least import beginnings
from lightning_modules.least.settings import Canvas


def test_the_content_can_be_the_beginning(small, pictures):
    content = pictures() * 0.5 + 0.2
    model = small(begin="content", residual=0.0, controls={"iterations": 1})
    assert model.plan.residual == 0.0
    near = small(begin="content", residual=1e-3, controls={"iterations": 1}, canvas=Canvas(size=56, crop=False))
    painted = near.stylize(content, prompt="cubism")
    assert float((painted - content).abs().mean()) < 0.01


def test_the_painting_of_another_method_can_be_the_beginning(small, monkeypatch, pictures):
    class Painter:
        conditions = frozenset({"text", "image"})
        requires = frozenset()

        def to(self, device):
            return self

        def stylize(self, content, *, prompt):
            assert list(prompt) == ["cubism"]
            return torch.full_like(content, 0.25)

    monkeypatch.setattr(beginnings, "load_checkpoint", lambda path: Painter())
    model = small(begin="other.ckpt", residual=1e-3, controls={"iterations": 1})
    painted = model.stylize(pictures(), prompt="cubism")
    assert float((painted - 0.25).abs().max()) < 0.02
    assert not any("begin" in name for name in model.state_dict())
    monkeypatch.setattr(Painter, "conditions", frozenset({"image"}))
    with pytest.raises(ImpastoError, match="paint by a prompt alone"):
        small(begin="other.ckpt").stylize(pictures(), prompt="cubism")
