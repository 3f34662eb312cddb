"""Pictures that move in CLIP space as words do."""

from torch import Tensor
from torch.nn import functional as F

from lightning_modules.losses.precision import at_least_float32, without_autocast


def directional_clip_loss(
    image: Tensor, source_image: Tensor, text: Tensor, source_text: Tensor, threshold: float | None = None
) -> Tensor:
    """Return how far the step from content to output turns away from the step between the texts.

    ``1 - cos(dI, dT)`` with ``dI = E_I(out) - E_I(content)`` and ``dT = E_T(prompt) - E_T(source)``; the embeddings are
    L2-normalised in here before they are subtracted, as CLIPstyler and StyleGAN-NADA do.

    Args:
        image: ``(B, D)``, CLIP embeddings of the outputs (or of patches of them), of any length.
        source_image: ``(B, D)`` or ``(1, D)``, of the contents.
        text: ``(B, D)`` or ``(1, D)``, of the target prompts.
        source_text: ``(B, D)`` or ``(1, D)``, of the words for a plain picture, such as "a Photo".
        threshold: A sample whose loss lies below it counts as 0, so that easy patches stop pulling. None keeps all.

    Returns:
        ``(B,)``, each in [0, 2]: 0 for parallel steps, 1 where a step has no length (its gradient is 0 there).

    Source: CLAST (MM 2024), directional CLIP loss; Kwon & Ye 2022 (CLIPstyler), eq. 3-5 and their threshold 0.7.

    Examples:
        >>> import torch
        >>> here, there = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
        >>> [round(float(directional_clip_loss(there, here, *words)), 3) for words in ((there, here), (here, there))]
        [0.0, 2.0]
    """
    with without_autocast(image):
        image, source_image, text, source_text = (
            F.normalize(at_least_float32(vectors), dim=-1) for vectors in (image, source_image, text, source_text)
        )
        (step, stands), (words, silent) = _with_length(image - source_image), _with_length(text - source_text)
        loss = (1 - F.cosine_similarity(step, words, dim=-1)).masked_fill(stands | silent, 1.0)
    return loss if threshold is None else loss.where(loss >= threshold, 0.0)


def _with_length(steps: Tensor) -> tuple[Tensor, Tensor]:
    """Return steps ``(B, D)`` with ones for those of no length, and which these are, ``(B,)``.

    A cosine divides by the length or by a tiny number, and would pass a huge gradient on where a step has none.
    """
    still = (steps == 0).all(-1)
    return steps.masked_fill(still[:, None], 1.0), still
