"""From a prompt or a style image to the vector that modulates CLAST: one door for both modalities."""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_modules.clast.prompts import SOURCE_PROMPT, TEMPLATES, parse_prompt, sentences
from lightning_modules.networks.clip import CLIPEncoder

Modality = Literal["text", "image"]


class StyleCode(nn.Module):
    """Turn CLIP embeddings into style codes.

    CLIP's texts and images lie in two separate cones. With ``centred`` the mean of each modality is removed from the
    unit vectors and the rest brought to norm ``sqrt(D)``, so that an artist's name and that artist's paintings land in
    one cloud. Without it the raw projected vector is the code, as in the released model.

    Both means are buffers: constants of the training set that travel in the checkpoint.

    Args:
        dim: Length of CLIP's embeddings.
        centred: Whether to centre and normalise.

    Source: the centring is ours; docs/clast.md has its ablation.
    """

    text_mean: Tensor
    image_mean: Tensor
    images_seen: Tensor

    def __init__(self, dim: int, *, centred: bool = True) -> None:
        super().__init__()
        self.dim = dim
        self.centred = centred
        self.register_buffer("text_mean", torch.zeros(dim))
        self.register_buffer("image_mean", torch.zeros(dim))
        self.register_buffer("images_seen", torch.zeros((), dtype=torch.long))

    def forward(self, embedding: Tensor, modality: Modality) -> Tensor:
        """Map embeddings ``(B, D)``, any norm, to codes ``(B, D)``."""
        if not self.centred:
            return embedding
        mean = self.text_mean if modality == "text" else self.image_mean
        return F.normalize(F.normalize(embedding, dim=-1) - mean, dim=-1) * math.sqrt(self.dim)

    @torch.no_grad()
    def set_text_mean(self, embeddings: Tensor) -> None:
        """Set the text mean from the embeddings ``(N, D)`` of the training artists' sentences."""
        self.text_mean.copy_(F.normalize(embeddings, dim=-1).mean(0))

    @torch.no_grad()
    def update_image_mean(self, embeddings: Tensor, limit: int = 4096) -> None:
        """Fold embeddings ``(B, D)`` of training paintings into the running mean, until ``limit`` have been seen."""
        if not self.centred or int(self.images_seen) >= limit:
            return
        count = len(embeddings)
        self.images_seen += count
        self.image_mean.lerp_(F.normalize(embeddings, dim=-1).mean(0), float(count / self.images_seen))


class PromptEncoder:
    """Cached text embeddings of a frozen CLIP; at most a few thousand short vectors.

    Args:
        clip: The encoder.
    """

    def __init__(self, clip: CLIPEncoder) -> None:
        self._clip = clip
        self._cache: dict[str, Tensor] = {}

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Return ``(len(texts), D)`` projected embeddings on CLIP's device."""
        missing = [text for text in dict.fromkeys(texts) if text not in self._cache]
        if missing:
            with torch.no_grad():
                self._cache.update(zip(missing, self._clip.encode_text(missing).cpu(), strict=True))
        device = next(self._clip.parameters()).device
        return torch.stack([self._cache[text] for text in texts]).to(device)

    def ensemble(self, clause: str, templates: Sequence[str] = TEMPLATES) -> Tensor:
        """Return the mean ``(D,)`` of the clause's normalised embeddings over all templates, at their mean norm."""
        embeddings = self(sentences(clause, templates))
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
        return source + weights @ (codes - source)
