"""From a prompt or a style image to the vector that modulates CLAST: one door for both modalities."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_modules.clast.prompts import SOURCE_PROMPT, TEMPLATES, parse_prompt, sentences
from lightning_modules.losses.precision import at_least_float32, without_autocast
from lightning_modules.networks.clip import CLIPEncoder

Modality = Literal["text", "image"]


class StyleCode(nn.Module):
    """Turn CLIP embeddings into style codes.

    CLIP's texts and images lie in two separate cones. With ``centred`` the mean of each modality is removed from the
    unit vectors and the rest brought to norm ``sqrt(D)``, so that an artist's name and that artist's paintings land in
    one cloud. Without it the raw projected vector is the code, as in the released model.

    Both means are constants of the training set that travel in the checkpoint. The image mean is that of the first
    ``limit`` paintings that pass by in training.

    Args:
        dim: Length of CLIP's embeddings.
        centred: Whether to centre and normalise.
        limit: Paintings after which the image mean is held.

    Source: the centring is ours; docs/clast.md has its ablation.
    """

    text_mean: Tensor
    image_mean: Tensor

    def __init__(self, dim: int, *, centred: bool = True, limit: int = 4096) -> None:
        super().__init__()
        self.dim = dim
        self.centred = centred
        self.limit = limit
        self.register_buffer("text_mean", torch.zeros(dim))
        self.register_buffer("image_mean", torch.zeros(dim))
        self.images_seen = 0  # on the host: what decides about a step must not be read back from an accelerator

    def forward(self, embedding: Tensor, modality: Modality) -> Tensor:
        """Map embeddings ``(B, D)``, any norm, to codes ``(B, D)``, at least float32."""
        if not self.centred:
            return at_least_float32(embedding)  # under autocast pictures come in half precision, and words do not
        mean = self.text_mean if modality == "text" else self.image_mean
        return F.normalize(F.normalize(embedding, dim=-1) - mean, dim=-1) * math.sqrt(self.dim)

    @torch.no_grad()
    def set_text_mean(self, embeddings: Tensor) -> None:
        """Set the text mean from the embeddings ``(N, D)`` of the training artists' sentences."""
        self.text_mean.copy_(F.normalize(embeddings, dim=-1).mean(0))

    @property
    def settled(self) -> bool:
        """Whether `update_image_mean` has nothing more to learn."""
        return not self.centred or self.images_seen >= self.limit

    @torch.no_grad()
    def update_image_mean(self, embeddings: Tensor) -> None:
        """Fold embeddings ``(B, D)`` of training paintings into the running mean, unless it is `settled`."""
        if self.settled:
            return
        self.images_seen += len(embeddings)
        mean = F.normalize(embeddings.to(self.image_mean), dim=-1).mean(0)  # they come in bfloat16 under autocast
        self.image_mean.lerp_(mean, len(embeddings) / self.images_seen)

    def get_extra_state(self) -> Tensor:
        """Return the number of paintings that the image mean has seen, for checkpoints."""
        return torch.tensor(self.images_seen)

    def set_extra_state(self, state: Tensor) -> None:
        """Restore it."""
        self.images_seen = int(state)


class PromptEncoder:
    """Text embeddings of a frozen CLIP; each text is encoded once, by itself.

    A vector is a function of its text and CLIP's weights alone. Beside other texts a matrix product may round otherwise
    than without them, and under autocast it would round to half precision, so every text is a call of its own, in the
    precision of the weights. What is kept is forgotten when the weights move, change or are cast.

    Args:
        clip: The encoder.
        templates: Sentences around a bare name, see `sentences`.
    """

    def __init__(self, clip: CLIPEncoder, templates: Sequence[str] = TEMPLATES) -> None:
        self._clip = clip
        self._templates = tuple(templates)
        self._cache: dict[str, Tensor] = {}
        self._weights: list[tuple[Any, ...]] = []

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Return ``(len(texts), D)`` projected embeddings, at least float32, on CLIP's device."""
        self._forget_other_weights()
        for text in texts:
            if text not in self._cache:
                self._cache[text] = self._encode(text)
        return torch.stack([self._cache[text] for text in texts])

    def _forget_other_weights(self) -> None:
        weights = [
            (p.device, p.dtype, p.data_ptr(), None if p.is_inference() else p._version) for p in self._clip.parameters()
        ]
        if weights != self._weights:
            self._cache, self._weights = {}, weights

    def _encode(self, text: str) -> Tensor:
        with torch.no_grad(), without_autocast(self._clip.mean):
            return at_least_float32(self._clip.encode_text([text])[0])

    def ensemble(self, clause: str) -> Tensor:
        """Return the mean ``(D,)`` of the clause's normalised embeddings over all templates, at their mean norm."""
        embeddings = self(sentences(clause, self._templates))
        if len(embeddings) == 1:
            return embeddings[0]
        direction = F.normalize(F.normalize(embeddings, dim=-1).mean(0), dim=0)
        mean: Tensor = direction * embeddings.norm(dim=-1).mean()
        return mean

    def code(self, prompt: str, clause_code: Callable[[str], Tensor], style_code: StyleCode) -> Tensor:
        """Return the style code ``(D,)`` of a prompt; several clauses add their offsets from the source prompt.

        Args:
            prompt: One clause or several weighted ones; see `parse_prompt`.
            clause_code: Gives the style code ``(D,)`` of one clause.
            style_code: Gives that of the source prompt.
        """
        clauses = parse_prompt(prompt)
        codes = torch.stack([clause_code(text) for text, _ in clauses])
        if len(clauses) == 1 and clauses[0][1] == 1.0:
            return codes[0]
        source: Tensor = style_code(self([SOURCE_PROMPT]), "text")[0]
        weights = torch.tensor([weight for _, weight in clauses]).to(codes)
        with without_autocast(codes):
            return source + weights @ (codes - source)
