"""LLaVA as the paper uses it: ask a vision-language model for a box."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from lightning_modules.grounding.hub import Loaded
from lightning_modules.grounding.regions import Box, NotFoundError, Region, to_bytes, working_copy
from lightning_modules.grounding.replies import Frame, parse_boxes
from lightning_modules.grounding.segmenters import Hint, Segmenter
from lightning_modules.grounding.spatial import is_plural

Query = Literal["where", "paper"]
Judge = Callable[[Tensor, str], float]
"""How well a crop ``(3, h, w)`` shows what a phrase names."""
QUERIES: dict[Query, str] = {
    "where": (
        "Where is the {phrase} in this image? Answer with its bounding box alone, [x1, y1, x2, y2], as decimal numbers "
        "between 0 and 1: left, top, right, bottom."
    ),
    "paper": (
        "For a given user prompt: 'stylize the {phrase}', give the bounding box coordinates of the object that should "
        "be stylized. Also return the corresponding style in quotes."
    ),
}
STRICT = (
    "Give the bounding box of the {phrase}. Write nothing but four decimal numbers between 0 and 1 in square brackets, "
    "separated by commas: left, top, right, bottom."
)
NEW_TOKENS = 512
LARGEST = 1344
"""Longest side, in pixels, of what LLaVA is shown; it sees at most 672 of them."""


class LLaVA:
    """LLaVA 1.5 or 1.6 for the box, a segmenter for the outline.

    A reply without a box is followed by one stricter question.

    Args:
        loaded: The model.
        segmenter: Turns boxes into masks.
        query: ``paper`` asks as LEAST does; the style, which that asks for too, is the prompt's own in any case.
        frame: What the model's coordinates count; by default shares of the picture, or of the square that it is padded
            to, as LLaVA 1.5 was trained. ``auto`` takes both, and keeps the boxes whose crop the judge likes better.
        judge: Of ``auto``; by default CLIP's cosine.

    Source: LEAST, section 3.1.
    """

    def __init__(
        self,
        loaded: Loaded,
        segmenter: Segmenter,
        query: Query = "where",
        frame: Frame | None = None,
        judge: Judge | None = None,
    ) -> None:
        self._model, self._processor, self._name = loaded.model, loaded.processor, loaded.name
        self._segmenter = segmenter
        self._query = QUERIES[query]
        self._frame: Frame = frame or ("padded_square" if loaded.kind == "llava" else "image")
        self._judge = judge

    def ground(self, image: Tensor, phrase: str) -> list[Region]:
        """Return regions: see `Grounder`; several where the phrase means several."""
        for question in (self._query, STRICT):
            reply = self._ask(image, question.format(phrase=phrase))
            boxes = self._boxes(reply, image, phrase)
            if boxes:
                kept = boxes if is_plural(phrase) else boxes[:1]
                return [self._region(image, box) for box in kept]
        raise NotFoundError(f"LLaVA gives no box for '{phrase}', but '{' '.join(reply.split())[:80]}'.")

    def _region(self, image: Tensor, box: Box) -> Region:
        region = self._segmenter.segment(image, Hint(box))
        return region._replace(source=f"{self._name} + {region.source}", box=box)

    def _boxes(self, reply: str, image: Tensor, phrase: str) -> list[Box]:
        size = (image.shape[-2], image.shape[-1])
        if self._frame != "auto":
            return parse_boxes(reply, size, self._frame)
        frames: tuple[Frame, ...] = ("image", "padded_square")
        readings = [found for frame in frames if (found := parse_boxes(reply, size, frame))]
        judge = self._judge or clip_judge()
        return max(readings, key=lambda boxes: judge(_crop(image, boxes[0]), phrase), default=[])

    def _ask(self, image: Tensor, question: str) -> str:
        small, _ = working_copy(image, LARGEST)
        text = self._conversation(question)
        inputs = self._processor(images=to_bytes(small), text=text, return_tensors="pt").to(self._model.device)
        if inputs["pixel_values"].is_floating_point():
            inputs["pixel_values"] = inputs["pixel_values"].to(self._model.dtype)
        with torch.no_grad():
            tokens = self._model.generate(**inputs, do_sample=False, max_new_tokens=NEW_TOKENS)
        asked = inputs["input_ids"].shape[1]
        return str(self._processor.batch_decode(tokens[:, asked:], skip_special_tokens=True)[0])

    def _conversation(self, question: str) -> str:
        if getattr(self._processor, "chat_template", None):
            turn: list[dict[str, Any]] = [
                {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}
            ]
            return str(self._processor.apply_chat_template(turn, add_generation_prompt=True))
        return f"USER: <image>\n{question} ASSISTANT:"


def clip_judge() -> Judge:
    """Return the cosine of CLIP's picture and text vectors."""
    from lightning_modules.weights import load_clip

    clip = load_clip()

    def judge(crop: Tensor, phrase: str) -> float:
        picture, text = clip.encode_image(crop[None]), clip.encode_text([f"a photo of a {phrase}"])
        return float(torch.nn.functional.cosine_similarity(picture, text))

    return judge


def _crop(image: Tensor, box: Box) -> Tensor:
    x0, y0, x1, y1 = (round(side) for side in box)
    return image[:, y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]
