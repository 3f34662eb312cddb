import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def gallery(tmp_path_factory):
    """ProceduralArt's layout in little: 3 artists, contents 10/3/2; grey level tells contents, hue tells artists."""
    root = tmp_path_factory.mktemp("gallery")
    for split, count in {"train": 10, "val": 3, "test": 2}.items():
        for number in range(count):
            pixels = np.full((40, 48, 3), 20 * number, np.uint8)
            pixels[:, :, 0] += np.arange(48, dtype=np.uint8)  # so that crops and flips show
            _save(pixels, root / split / "contents" / f"{split}{number}.png")
            for artist in range(3):
                painted = pixels.copy()
                painted[:, :, 1] = 60 * artist + number
                _save(painted, root / split / "paintings" / f"Artist {'ABC'[artist]}" / f"{split}{number}.png")
    return root


def _save(pixels, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
