"""NSYNC's step as one writes it down: three passes, pictures encoded in each, the whole table of words as a leaf."""

from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional

from lightning_modules.weights import LatentDiffusion


class Plain:
    """One step of eq. 2, with the parts of a pipeline and its text encoder's table, which grows by a row.

    Every role is a pass of its own that encodes its pictures and leaves a gradient of the whole table, of which the new
    row's is used; AdamW keeps its moments for all rows.

    Args:
        parts: The pipeline; its text encoder gets another table.
        initializer: Number of the row that the new one begins as.
        lr: Learning rate.
    """

    def __init__(self, parts: LatentDiffusion, initializer: int, lr: float) -> None:
        self.parts: Any = parts
        rows = len(parts.text_encoder.get_input_embeddings().weight)
        parts.text_encoder.resize_token_embeddings(rows + 1, mean_resizing=False)
        self.table = parts.text_encoder.get_input_embeddings().weight
        self.token = rows
        with torch.no_grad():
            self.table[rows] = self.table[initializer]
        self.optimizer = torch.optim.AdamW([self.table], lr=lr)

    def __call__(self, images: Tensor, ids: Tensor) -> dict[str, Tensor]:
        """Run it, and return the losses.

        Args:
            images: ``(B, 3, 3, S, S)``, RGB in [0, 1], roles first.
            ids: Of their prompts, ``(3, B, L)``, the new row's number where the placeholder stands.
        """
        self.table.requires_grad_()
        losses, snapshots = {}, []
        for number, role in enumerate(("positive", "anchor", "negative")):
            losses[role] = self.loss(images[:, number], ids[number])
            losses[role].backward()
            snapshots.append(cast(Tensor, self.table.grad).clone())
            self.optimizer.zero_grad()
        p, a, n = (snapshot[self.token] for snapshot in snapshots)
        combined = p - (p @ n) / (n @ n) * n + (p @ a) / (a @ a) * a
        gradient = torch.zeros_like(self.table)
        gradient[self.token] = combined
        self.table.grad = gradient
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.table.requires_grad_(requires_grad=False)  # others share it
        return {role: loss.detach() for role, loss in losses.items()}

    def loss(self, images: Tensor, ids: Tensor) -> Tensor:
        """Return the denoising loss of pictures and their prompts."""
        with torch.no_grad():
            latents = self.parts.vae.encode(images * 2 - 1).latent_dist.sample() * self.parts.vae.config.scaling_factor
        noise = torch.randn_like(latents)
        steps = torch.randint(self.parts.scheduler.config.num_train_timesteps, (len(latents),), device=latents.device)
        words = self.parts.text_encoder(ids)[0]
        noisy = self.parts.scheduler.add_noise(latents, noise, steps)
        predicted = self.parts.unet(noisy, steps, encoder_hidden_states=words, return_dict=False)[0]
        return functional.mse_loss(predicted.float(), noise.float())
