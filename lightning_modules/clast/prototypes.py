"""One vector per artist, which leans on the paintings where there are many and on the name where there are few."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Prototypes(nn.Module):
    """Shrunken mean vectors of artists in CLIP's image space.

    ``c_a = n / (n + k) * m_a + k / (n + k) * (t_a + gap)``: m_a is the mean unit vector of the artist's paintings as
    they pass by in training, n the number of the artist's paintings, t_a the unit vector of the name and gap the step
    from the mean text to the mean image. Two crops of three paintings say little about an artist; the name, seen
    through CLIP, says more.

    Args:
        shrinkage: k, in paintings.

    Source: shrinkage of class means towards a prior (James & Stein 1961); beyond the paper, whose section on limits
    names artists with few works.
    """

    def __init__(self, shrinkage: float) -> None:
        super().__init__()
        self.shrinkage = shrinkage
        self.artists: tuple[str, ...] = ()
        for name in ("texts", "means", "seen", "paintings"):
            self.register_buffer(name, torch.empty(0), persistent=False)  # their length is that of the data

    texts: Tensor
    means: Tensor
    seen: Tensor
    paintings: Tensor

    def start(self, artists: Sequence[str], texts: Tensor, paintings: Sequence[int]) -> None:
        """Take the artists of the training data, unless a checkpoint brought the same ones.

        Args:
            artists: Names, in the order of the labels.
            texts: ``(A, D)``, embeddings of the names, of any length.
            paintings: Number of paintings of each.
        """
        if self.artists == tuple(artists):
            return
        self.artists = tuple(artists)
        self.texts = F.normalize(texts, dim=-1)
        self.means = torch.zeros_like(self.texts)
        self.seen = torch.zeros(len(artists), 1, device=texts.device)
        self.paintings = torch.tensor(paintings, dtype=texts.dtype, device=texts.device).unsqueeze(1)

    @torch.no_grad()
    def update(self, artist: Tensor, embeddings: Tensor) -> None:
        """Fold paintings into their artists' means.

        Args:
            artist: ``(B,)``, labels.
            embeddings: ``(B, D)``, CLIP's, of any length.
        """
        count = torch.zeros_like(self.seen).index_add_(0, artist, self.seen.new_ones(len(artist), 1))
        total = torch.zeros_like(self.means).index_add_(0, artist, F.normalize(embeddings, dim=-1).to(self.means))
        self.seen += count
        self.means += (total - count * self.means) / self.seen.clamp(min=1)

    def forward(self, artist: Tensor, gap: Tensor) -> Tensor:
        """Return the prototypes ``(B, D)`` of labels ``(B,)``; ``gap`` ``(D,)`` leads from texts to images."""
        number = self.paintings[artist] * (self.seen[artist] > 0)
        trust = number / (number + self.shrinkage)
        return trust * self.means[artist] + (1 - trust) * (self.texts[artist] + gap)

    def label(self, name: str) -> int | None:
        """Return the label of an artist, whatever the letter case; None for a stranger."""
        names = [artist.casefold() for artist in self.artists]
        return names.index(name.casefold()) if name.casefold() in names else None

    def get_extra_state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        tensors = {name: getattr(self, name).cpu() for name in ("texts", "means", "seen", "paintings")}
        return {"artists": list(self.artists), **tensors}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore it."""
        device = self.texts.device
        self.artists = tuple(state["artists"])
        for name in ("texts", "means", "seen", "paintings"):
            setattr(self, name, state[name].to(device))
