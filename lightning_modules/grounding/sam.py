"""Segment Anything: of the package segment-anything, and SAM and SAM 2 of transformers."""

from abc import abstractmethod
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from lightning_modules.errors import ImpastoError
from lightning_modules.grounding.hub import INSTALL, Loaded
from lightning_modules.grounding.regions import Box, cleaned, to_bytes
from lightning_modules.grounding.segmenters import Hint, Segmenter
from lightning_modules.weights.files import own_file, read_state, torchvision_path

Multimask = Literal["single", "best_iou_in_box"]
"""Which of SAM's masks is taken: the only one (the paper's), or of four the surest that keeps to the box."""
INSIDE = 0.9
"""Share of a mask that must lie in the box."""


class Checkpoint(NamedTuple):
    """A file of weights of the package segment-anything."""

    file: str
    gigabytes: float
    width: int


CHECKPOINTS = {
    "vit_h": Checkpoint("sam_vit_h_4b8939.pth", 2.6, 1280),
    "vit_l": Checkpoint("sam_vit_l_0b3195.pth", 1.2, 1024),
    "vit_b": Checkpoint("sam_vit_b_01ec64.pth", 0.4, 768),
}
ADDRESS = "https://dl.fbaipublicfiles.com/segment_anything"


class Promptable(Segmenter):
    """What SAMs have in common.

    Args:
        multimask: See `Multimask`.
        padding: The box grows by this share of its sides before SAM sees it.

    Source: LEAST, section 3.1, has ``single`` and no padding.
    """

    def __init__(self, multimask: Multimask = "best_iou_in_box", padding: float = 0.015) -> None:
        super().__init__()
        self._multimask, self._padding = multimask, padding
        self._encoded: Tensor | None = None

    def _mask(self, image: Tensor, hint: Hint) -> tuple[Tensor, float]:
        if self._encoded is not image:
            self._encode(image)  # nearly all of the time that a mask takes
            self._encoded = image
        padded = hint if hint.box is None else hint._replace(box=grown(hint.box, self._padding, image))
        with torch.no_grad():
            masks, scores = self._predict(padded, several=False)
            if self._multimask == "best_iou_in_box":
                more, their_scores = self._predict(padded, several=True)
                masks, scores = torch.cat([masks, more]), torch.cat([scores, their_scores])
        best = surest(masks, scores, padded.box)
        mask = masks[best][None].float()
        if not mask.any():
            raise ImpastoError("SAM finds nothing there: give a larger box, or a point on the thing.")
        return cleaned(mask), float(scores[best].clamp(0, 1))

    @abstractmethod
    def _encode(self, image: Tensor) -> None:
        """Look at a picture ``(3, h, w)``."""

    @abstractmethod
    def _predict(self, hint: Hint, *, several: bool) -> tuple[Tensor, Tensor]:
        """Return masks ``(N, h, w)``, bool, and their predicted IoU ``(N,)``, on the CPU: one or three."""


class SegmentAnything(Promptable):
    """The package segment-anything.

    Args:
        checkpoint: File of weights; by default one of `CHECKPOINTS` where it is on this machine.
        model_type: ``vit_h``, ``vit_l`` or ``vit_b``; by default what the file holds.
        multimask: See `Multimask`.
        padding: See `Promptable`.
        device: Where it runs.
        predictor: A ready ``SamPredictor`` instead.

    Raises:
        ImpastoError: If the package or the weights are missing, or the file holds another model.
    """

    source = "sam"

    def __init__(
        self,
        checkpoint: Path | str | None = None,
        model_type: str | None = None,
        multimask: Multimask = "best_iou_in_box",
        padding: float = 0.015,
        device: str = "cpu",
        predictor: Any = None,
    ) -> None:
        super().__init__(multimask, padding)
        self._predictor = _predictor(checkpoint, model_type, device) if predictor is None else predictor

    def _encode(self, image: Tensor) -> None:
        self._predictor.set_image(to_bytes(image))

    def _predict(self, hint: Hint, *, several: bool) -> tuple[Tensor, Tensor]:
        import numpy as np

        points = np.array(hint.points, dtype=np.float32) if hint.points else None
        masks, scores, _ = self._predictor.predict(
            point_coords=points,
            point_labels=None if points is None else np.ones(len(points), dtype=np.int64),
            box=None if hint.box is None else np.array(hint.box, dtype=np.float32),
            multimask_output=several,
        )
        return torch.from_numpy(masks), torch.from_numpy(scores).float()


class HubSegmenter(Promptable):
    """SAM or SAM 2 of transformers.

    Args:
        loaded: The model.
        multimask: See `Multimask`.
        padding: See `Promptable`.
    """

    def __init__(self, loaded: Loaded, multimask: Multimask = "best_iou_in_box", padding: float = 0.015) -> None:
        super().__init__(multimask, padding)
        self.source = f"{loaded.kind.removesuffix('_video')} ({loaded.name})"
        self._model, self._processor = loaded.model, loaded.processor
        self._pixels: Any = None
        self._features: Any = None

    def _encode(self, image: Tensor) -> None:
        self._pixels = to_bytes(image)
        inputs = self._processor(images=self._pixels, return_tensors="pt").to(self._model.device)
        with torch.no_grad():
            self._features = self._model.get_image_embeddings(inputs["pixel_values"])

    def _predict(self, hint: Hint, *, several: bool) -> tuple[Tensor, Tensor]:
        prompt: dict[str, Any] = {}
        if hint.box is not None:
            prompt["input_boxes"] = [[list(hint.box)]]
        if hint.points:
            prompt["input_points"] = [[[list(point) for point in hint.points]]]
            prompt["input_labels"] = [[[1] * len(hint.points)]]
        inputs = self._processor(images=self._pixels, **prompt, return_tensors="pt").to(self._model.device)
        asked = {name: inputs[name] for name in prompt}
        output = self._model(image_embeddings=self._features, multimask_output=several, **asked)
        masks = self._processor.post_process_masks(
            output.pred_masks.cpu(),
            original_sizes=inputs["original_sizes"].cpu(),
            reshaped_input_sizes=inputs["reshaped_input_sizes"].cpu() if "reshaped_input_sizes" in inputs else None,
        )[0]
        return masks[0].cpu(), output.iou_scores[0, 0].float().cpu()


def surest(masks: Tensor, scores: Tensor, box: Box | None) -> int:
    """Return the number of the mask with the highest score among those that keep to the box.

    Args:
        masks: ``(N, h, w)``, bool.
        scores: ``(N,)``.
        box: Of which `INSIDE` of a mask's area must be within; None asks nothing. Where no mask keeps to it, the one
            that leaves it least is taken.
    """
    if box is None:
        return int(scores.argmax())
    x0, y0, x1, y1 = (round(side) for side in box)
    areas = masks.flatten(1).sum(1).float()
    inside = masks[:, y0:y1, x0:x1].flatten(1).sum(1).float() / areas.clamp(min=1)
    keep = inside >= INSIDE
    return int(scores.masked_fill(~keep, -torch.inf).argmax()) if keep.any() else int(inside.argmax())


def grown(box: Box, share: float, image: Tensor) -> Box:
    """Return a box that is larger by a share of its sides, within the picture."""
    height, width = image.shape[-2:]
    x0, y0, x1, y1 = box
    across, down = share * (x1 - x0), share * (y1 - y0)
    return max(0.0, x0 - across), max(0.0, y0 - down), min(float(width), x1 + across), min(float(height), y1 + down)


def find_checkpoint() -> Path | None:
    """Return the largest file of `CHECKPOINTS` in ``IMPASTO_WEIGHTS``, ``~/.cache/impasto`` or torch hub's cache."""
    names = [known.file for known in CHECKPOINTS.values()]
    places = [place for name in names for place in (own_file(name), torchvision_path(f"{ADDRESS}/{name}"))]
    return next((place for place in places if place.is_file()), None)


def package_installed() -> bool:
    """Return whether segment-anything is there; nothing is imported."""
    return find_spec("segment_anything") is not None


def _predictor(checkpoint: Path | str | None, model_type: str | None, device: str) -> Any:
    if not package_installed():
        raise ImpastoError(f"SAM needs the package segment-anything: {INSTALL}.")
    if model_type is not None and model_type not in CHECKPOINTS:
        raise ImpastoError(f"SAM comes as {', '.join(CHECKPOINTS)}, not as '{model_type}'.")
    path = find_checkpoint() if checkpoint is None else Path(checkpoint)
    if path is None or not path.is_file():
        known = CHECKPOINTS[model_type or "vit_h"]
        place = own_file(known.file) if path is None else path
        raise ImpastoError(
            f"The weights of SAM are not at {place}: fetch {ADDRESS}/{known.file} ({known.gigabytes:g} GB) and put it "
            "there; --grounder auto works without."
        )
    state = read_state(path, "SAM")
    held = _type_of(state)
    if held is None or (model_type is not None and held != model_type):
        what = "no SAM" if held is None else f"the SAM {held}"
        raise ImpastoError(
            f"{path} holds {what}, where {model_type or 'one of ' + ', '.join(CHECKPOINTS)} is expected."
        )
    from segment_anything import SamPredictor, sam_model_registry

    network = sam_model_registry[held]()
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ImpastoError(f"{path} holds parts of the SAM {held} only: fetch it anew.") from error
    return SamPredictor(network.to(device).eval())


def _type_of(state: dict[str, Any]) -> str | None:
    patches = state.get("image_encoder.patch_embed.proj.weight")
    width = patches.shape[0] if isinstance(patches, Tensor) else 0
    return next((name for name, known in CHECKPOINTS.items() if known.width == width), None)
