import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from metrics.functional.filters import blur, correlate, gaussian


def test_a_blur_is_scipys_where_the_window_fits():
    picture = np.random.default_rng(0).random((2, 20, 17))
    expected = gaussian_filter(picture, 1.3, radius=3, axes=(1, 2))[:, 3:-3, 3:-3]
    np.testing.assert_allclose(blur(torch.from_numpy(picture), gaussian(7, 1.3)).numpy(), expected, rtol=1e-12)


def test_weights_stand_in_the_order_of_the_neighbours():
    x = torch.tensor([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0]])
    assert correlate(x, (-1, 0, 1), -1).tolist() == [[3], [24]]
    assert correlate(x, (-1, 1), 0).tolist() == [[7, 14, 28]]
