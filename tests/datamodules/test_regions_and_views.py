"""What only some methods ask of their data: further crops of the style picture, and regions."""

import numpy as np
import torch
from PIL import Image

from datamodules.sources import ImageFolder, ProceduralArt
from datamodules.style_transfer import StyleTransferDataModule


class _Prepared(ProceduralArt):
    """Reads ProceduralArt's layout where somebody else has made it."""

    def prepare(self):
        pass


def _ready(content, style, stage="fit", **changes):
    options = {"size": 16, "batch_size": 4, "artists_per_batch": 2, "workers": 0, "batches_per_epoch": 2} | changes
    module = StyleTransferDataModule(content, style, **options)
    module.setup(stage)
    return module


def test_views_are_further_crops_of_the_style_picture_and_change_nothing_else(gallery):
    art = _Prepared(gallery)
    plain, viewed = (_ready(art, art, style_views=count) for count in (0, 3))
    for one, other in zip(plain.train_dataloader(), viewed.train_dataloader(), strict=True):
        assert one.views is None
        assert other.views.shape == (4, 3, 3, 16, 16)
        for name in ("content", "style", "reference"):
            assert torch.equal(getattr(one, name), getattr(other, name))
        # Every picture of the gallery has a green of its own.
        levels = [pictures[..., 1, :, :].amax((-2, -1)) for pictures in (other.views, other.style)]
        assert torch.equal(levels[0], levels[1][:, None].expand(4, 3))
    assert next(iter(viewed.val_dataloader())).views is None


def test_masks_go_with_the_contents_that_they_are_named_after(gallery, tmp_path):
    for folder in ("photos", "masks"):
        (tmp_path / folder / "trip").mkdir(parents=True)
    for number in range(3):
        Image.new("RGB", (48, 32), (0, 0, 40 * number)).save(tmp_path / f"photos/trip/{number}.jpg")
        mask = np.zeros((64, 96), dtype=np.uint8)
        mask[:, 24 * number :] = 255
        Image.fromarray(mask).save(tmp_path / f"masks/trip/{number}.png")
    source = ImageFolder(tmp_path / "photos", val_root=tmp_path / "photos", masks=tmp_path / "masks")
    batch = next(iter(_ready(source, _Prepared(gallery), pairs_per_content=1, val_batch_size=3).val_dataloader()))
    assert batch.mask.shape == (3, 1, 16, 16)
    # The centre square of a 3 : 2 picture starts a sixth from the left: masks from 0, 1/4 and 1/2 of the width on.
    shares = batch.mask.mean((1, 2, 3))
    assert torch.allclose(shares, torch.tensor([1.0, 0.875, 0.5]), atol=0.05)
    (tmp_path / "masks/trip/1.png").unlink()
    batch = next(iter(_ready(source, _Prepared(gallery), pairs_per_content=1).val_dataloader()))
    assert batch.mask is None
