"""Structural similarity."""

from torch import Tensor

from metrics.functional.filters import blur, gaussian


def structural_similarity(
    a: Tensor, b: Tensor, *, window: int = 11, sigma: float = 1.5, data_range: float = 1.0
) -> Tensor:
    """Return the structural similarity of every pair.

    The mean over pixels and channels of ``(2 m_a m_b + C1)(2 s_ab + C2) / ((m_a^2 + m_b^2 + C1)(s_a^2 + s_b^2 + C2))``
    with Gaussian-weighted moments, ``C = (0.01 range)^2, (0.03 range)^2``. Only windows that lie wholly inside the
    picture count ("valid"); torchmetrics pads by reflection instead, scikit-image's default window is 7x7 uniform.

    Args:
        a: ``(B, C, H, W)``, float32 or float64, in [0, ``data_range``].
        b: The same shape.
        window: Side of the window in pixels, odd.
        sigma: Of the Gaussian, in pixels.
        data_range: Distance from black to white.

    Returns:
        ``(B,)``, in [-1, 1]; exactly 1 for equal pictures.

    Raises:
        ValueError: If the shapes differ, or a side is smaller than the window.

    Source: Wang et al. 2004, eq. 13; equals scikit-image's ``structural_similarity`` with ``gaussian_weights=True,
    sigma=1.5, use_sample_covariance=False``.

    Examples:
        >>> import torch
        >>> grey = torch.full((1, 3, 16, 16), 0.5)
        >>> structural_similarity(grey, grey)
        tensor([1.])
    """
    if a.shape != b.shape or min(a.shape[-2:]) < window:
        raise ValueError(f"needs equal shapes of at least {window} pixels, got {tuple(a.shape)} and {tuple(b.shape)}")
    weights = gaussian(window, sigma)
    mean_a, mean_b = blur(a, weights), blur(b, weights)
    variance_a = blur(a * a, weights) - mean_a * mean_a
    variance_b = blur(b * b, weights) - mean_b * mean_b
    covariance = blur(a * b, weights) - mean_a * mean_b
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    above = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    below = (mean_a * mean_a + mean_b * mean_b + c1) * (variance_a + variance_b + c2)
    return (above / below).mean((1, 2, 3))
