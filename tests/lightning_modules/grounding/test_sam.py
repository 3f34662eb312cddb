import numpy as np
import pytest
import torch

from lightning_modules.errors import ImpastoError
from lightning_modules.grounding.hub import load
from lightning_modules.grounding.sam import CHECKPOINTS, HubSegmenter, SegmentAnything, find_checkpoint, surest
from lightning_modules.grounding.segmenters import Hint


class Predictor:
    """Stands in for SamPredictor: the single mask leaks out of the box, of the three the second keeps to it."""

    def __init__(self):
        self.seen, self.asked = [], []

    def set_image(self, pixels):
        self.seen.append(pixels.shape)

    def predict(self, point_coords, point_labels, box, multimask_output):
        self.asked.append((point_coords, point_labels, box))
        height, width, _ = self.seen[-1]
        masks = np.zeros((3 if multimask_output else 1, height, width), dtype=bool)
        masks[:, :, : width // 2] = True
        if multimask_output:
            masks[1] = False
            x0, y0, x1, y1 = (round(float(side)) for side in box)
            masks[1, y0 + 2 : y1 - 2, x0 + 2 : x1 - 2] = True
        return masks, np.array([0.9, 0.6, 0.8][: len(masks)]), None


def tiny_predictor():
    """A SAM of the package, of the smallest size, with random weights."""
    from segment_anything import SamPredictor
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    torch.manual_seed(0)
    sam = Sam(
        ImageEncoderViT(img_size=64, patch_size=16, embed_dim=16, depth=1, num_heads=2, mlp_ratio=1, out_chans=16),
        PromptEncoder(16, (4, 4), (64, 64), 4),
        MaskDecoder(
            transformer_dim=16,
            transformer=TwoWayTransformer(1, 16, 2, 16),
            iou_head_depth=2,
            iou_head_hidden_dim=16,
        ),
    )
    return SamPredictor(sam.eval())


BOX = Hint((20, 10, 60, 50))


def test_the_surest_mask_that_keeps_to_the_box_wins(photo):
    predictor = Predictor()
    region = SegmentAnything(predictor=predictor, padding=0).segment(photo, BOX)
    assert region.box == (22, 12, 58, 48)
    assert region.score == pytest.approx(0.6)
    assert region.source == "sam"


def test_the_paper_takes_the_single_mask_and_the_box_as_it_is(photo):
    predictor = Predictor()
    region = SegmentAnything(predictor=predictor, multimask="single", padding=0).segment(photo, BOX)
    assert region.box == (0, 0, 45, 60)
    assert len(predictor.asked) == 1
    assert predictor.asked[0][2].tolist() == [20, 10, 60, 50]


def test_where_no_mask_keeps_to_the_box_the_one_that_leaves_it_least_is_taken():
    masks = torch.zeros(2, 10, 10, dtype=torch.bool)
    masks[0], masks[1, :, :6] = True, True
    assert surest(masks, torch.tensor([0.9, 0.1]), (0, 0, 4, 10)) == 1
    assert surest(masks, torch.tensor([0.9, 0.1]), None) == 0


def test_a_box_is_padded_within_the_picture(photo):
    predictor = Predictor()
    SegmentAnything(predictor=predictor, padding=0.1).segment(photo, Hint((0, 20, 80, 40)))
    assert predictor.asked[0][2].tolist() == [0, 18, 88, 42]


def test_a_picture_is_looked_at_once_for_all_its_regions_and_shrunk(photo):
    predictor = Predictor()
    sam = SegmentAnything(predictor=predictor, padding=0)
    large = torch.rand(3, 40, 4096)
    for x in (0, 1000):
        region = sam.segment(large, Hint((x, 0, x + 800, 40), ((x + 4.0, 8.0),)))
        assert region.mask.shape == (1, 40, 4096)
    assert predictor.seen == [(20, 2048, 3)]
    assert predictor.asked[-1][2].tolist() == [500, 0, 900, 20]
    assert predictor.asked[-1][0].tolist() == [[502, 4]]
    assert predictor.asked[-1][1].tolist() == [1]
    sam.segment(photo, BOX)
    assert len(predictor.seen) == 2


@pytest.mark.parametrize("hint", [BOX, Hint(None, ((30.0, 30.0), (40.0, 20.0))), Hint((20, 10, 60, 50), ((30, 30),))])
@pytest.mark.parametrize("kind", ["package", "sam", "sam2"])
def test_real_networks_take_boxes_and_points(kind, hint, photo, tiny):
    sam = SegmentAnything(predictor=tiny_predictor()) if kind == "package" else HubSegmenter(load(tiny(kind)))
    region = sam.segment(photo, hint)
    assert region.mask.shape == (1, 60, 90)
    assert set(region.mask.unique().tolist()) <= {0.0, 1.0}
    assert 0 <= region.score <= 1
    assert region.source.split()[0] == ("sam" if kind == "package" else kind)
    assert torch.equal(region.mask, sam.segment(photo, hint).mask)


@pytest.mark.parametrize("kind", ["sam", "sam2"])
def test_networks_of_transformers_look_at_a_picture_once(kind, photo, tiny):
    sam = HubSegmenter(load(tiny(kind)))
    looked = []
    encode = sam._model.get_image_embeddings
    sam._model.get_image_embeddings = lambda pixels: looked.append(1) or encode(pixels)
    for _ in range(2):
        sam.segment(photo, BOX)
    assert len(looked) == 1


def test_missing_weights_are_named_with_their_size(no_weights):
    with pytest.raises(ImpastoError, match=r"sam_vit_h_4b8939.pth: fetch https://.*/sam_vit_h_4b8939.pth \(2.6 GB\)"):
        SegmentAnything()
    with pytest.raises(ImpastoError, match=r"not at nowhere.pth: fetch .*vit_b.* \(0.4 GB\)"):
        SegmentAnything("nowhere.pth", "vit_b")
    with pytest.raises(ImpastoError, match="vit_h, vit_l, vit_b, not as 'vit_x'"):
        SegmentAnything(model_type="vit_x")


def test_a_checkpoint_is_found_in_impasto_s_folder(no_weights):
    assert find_checkpoint() is None
    path = no_weights / "weights" / CHECKPOINTS["vit_b"].file
    path.parent.mkdir()
    path.touch()
    assert find_checkpoint() == path


def test_a_checkpoint_of_another_model_is_told_from_what_was_asked_for(tmp_path):
    path = tmp_path / "sam_vit_h_4b8939.pth"
    torch.save({"image_encoder.patch_embed.proj.weight": torch.zeros(768, 1)}, path)
    with pytest.raises(ImpastoError, match="holds the SAM vit_b, where vit_h is expected"):
        SegmentAnything(path, "vit_h")
    torch.save({"conv.weight": torch.zeros(3)}, path)
    with pytest.raises(ImpastoError, match="holds no SAM, where one of vit_h, vit_l, vit_b is expected"):
        SegmentAnything(path)
    path.write_bytes(b"no checkpoint")
    with pytest.raises(ImpastoError, match="is not a whole file of SAM"):
        SegmentAnything(path)
