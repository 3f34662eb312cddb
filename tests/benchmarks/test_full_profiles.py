import pytest
import yaml
from PIL import Image

from benchmarks.full_profiles import full_profiles, make_pictures, stand_in
from experiments.training import main

SMALL = {
    "size": 64,
    "resize": 64,
    "network": "brushwork",
    "width": 8,
    "max_channels": 16,
    "StylisticPrediction": {"content": "vgg", "style": "vgg"},
}


def words(value):
    if isinstance(value, dict):
        return [word for each in value.values() for word in words(each)]
    return [word for each in value for word in words(each)] if isinstance(value, list) else [value]


@pytest.mark.parametrize("name", full_profiles())
def test_a_full_profile_reads_made_up_pictures_only(name, tmp_path):
    profile = stand_in(name, tmp_path / "art", weights="embedded", settings=SMALL)
    make_pictures(tmp_path / "art", side=64, artists=3)
    assert "pretrained" not in words(profile)
    paths = [word for word in words(profile["data"]) if isinstance(word, str) and "/" in word]
    assert paths
    assert all(path.startswith(str(tmp_path)) for path in paths)
    file = tmp_path / "full.yaml"
    file.write_text(yaml.safe_dump(profile))
    data = main(["fit", "--config", str(file), "--trainer.accelerator=cpu"], run=False).datamodule
    data.prepare_data()
    data.setup("fit")
    assert data.artists


def test_pictures_are_made_once_and_have_their_size(tmp_path):
    make_pictures(tmp_path, side=48, artists=3, works=2)
    assert len(list((tmp_path / "style").glob("*/*.jpg"))) == 6
    with Image.open(tmp_path / "content/000.jpg") as picture:
        assert picture.size == (60, 48)
    (tmp_path / "content/000.jpg").unlink()
    make_pictures(tmp_path, side=48, artists=3, works=2)
    assert not (tmp_path / "content/000.jpg").exists()
