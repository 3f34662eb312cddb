import csv
import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from datamodules.procedural import PAINTERS, SPLITS, contents, generate, paint
from datamodules.procedural.contents import PHOTOGRAPHS
from lightning_modules.errors import ImpastoError

COUNTS = {"train": 3, "val": 1, "test": 1}


def fingerprint(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def statistics(image: np.ndarray) -> np.ndarray:
    """Colour moments and gradients at two scales: what anybody sees from across the room."""
    grey = image.mean(-1)
    gradients = [np.abs(np.diff(grey[::step, ::step], axis=axis)).mean() for step in (1, 3) for axis in (0, 1)]
    deciles = np.quantile(image.reshape(-1, 3), (0.1, 0.5, 0.9), axis=0).ravel()
    chroma = image - grey[..., None]
    return np.concatenate([deciles, chroma.std((0, 1)), chroma.mean((0, 1)), gradients])


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(tmp_path_factory.mktemp("art") / "set", size=48, contents_per_split=COUNTS, workers=2, quiet=True)


def test_at_least_twelve_painters_with_distinct_names_and_techniques() -> None:
    words = [word for name in PAINTERS for word in name.split()]
    assert len(PAINTERS) >= 12
    assert all(len(name.split()) == 2 for name in PAINTERS)
    assert len(set(words)) == len(words)
    assert len({painter.style for painter in PAINTERS.values()}) == len(PAINTERS)
    assert all(painter.name == name for name, painter in PAINTERS.items())


@pytest.mark.parametrize("artist", PAINTERS)
@pytest.mark.parametrize("shape", [(16, 16), (33, 70), (101, 47)])
def test_painters_keep_shape_and_range_at_any_size(artist: str, shape: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).random((*shape, 3), np.float32)
    for flat in (picture, np.zeros_like(picture), np.ones_like(picture)):
        painting = PAINTERS[artist].paint(flat, np.random.default_rng(1))
        assert painting.shape == flat.shape
        assert painting.dtype == np.float32
        assert np.isfinite(painting).all()
        assert painting.min() >= 0
        assert painting.max() <= 1


@pytest.mark.parametrize("artist", PAINTERS)
def test_painting_depends_on_the_seed_alone_and_spares_its_content(artist: str) -> None:
    picture = next(contents("train", 1, 64))
    before = picture.image.copy()
    first, again, other = (paint(picture, artist, seed) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.array_equal(picture.image, before)


def test_a_picture_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 16"):
        PAINTERS["Ada Stipple"].paint(np.zeros((8, 64, 3), np.float32), np.random.default_rng(0))


def test_contents_are_in_range_captioned_and_the_same_whatever_their_number() -> None:
    many = list(contents("val", 6, 40, seed=3))
    few = list(contents("val", 2, 40, seed=3))
    assert all(np.array_equal(a.image, b.image) and a.title == b.title for a, b in zip(few, many, strict=False))
    for picture in many:
        assert picture.image.shape == (40, 40, 3)
        assert picture.image.dtype == np.float32
        assert 0 <= picture.image.min() < picture.image.max() <= 1
        assert picture.caption.startswith("a photo of ")


def test_splits_share_no_photograph_no_title_and_no_picture() -> None:
    photographs = [file for split in SPLITS for _, file, _ in PHOTOGRAPHS[split].values()]
    assert len(set(photographs)) == len(photographs)
    pictures = [picture for split in SPLITS for picture in contents(split, 12, 24)]
    assert len({picture.title for picture in pictures}) == len(pictures)
    assert len({picture.image.tobytes() for picture in pictures}) == len(pictures)


def test_every_painting_has_its_content_and_its_row(dataset: Path) -> None:
    for split, count in COUNTS.items():
        plain = list(csv.DictReader((dataset / split / "contents.csv").open()))
        rows = list(csv.DictReader((dataset / split / "paintings.csv").open()))
        titles = {Path(row["file"]).stem for row in plain}
        assert len(plain) == len(titles) == count
        assert {(row["artist"], row["title"]) for row in rows} == {(a, t) for a in PAINTERS for t in titles}
        for row in rows:
            assert row["file"] == f"paintings/{row['artist']}/{row['title']}.png"
            assert row["artist"] in row["caption"]
            assert row["style"] in row["caption"]
            assert Image.open(dataset / split / row["file"]).size == (48, 48)


def test_truth_is_what_the_painter_makes_of_the_written_content(dataset: Path) -> None:
    title = next(contents("val", 1, 48)).title
    written = np.asarray(Image.open(dataset / "val" / "contents" / f"{title}.png"), np.float32) / np.float32(255)
    picture = next(contents("val", 1, 48))._replace(image=written)
    painting = np.asarray(Image.open(dataset / "val" / "paintings" / "Clara Umber" / f"{title}.png"))
    assert np.array_equal((paint(picture, "Clara Umber", 0) * 255 + 0.5).astype(np.uint8), painting)


def test_bytes_do_not_depend_on_the_number_of_workers(dataset: Path, tmp_path: Path) -> None:
    alone = generate(tmp_path / "alone", size=48, contents_per_split=COUNTS, workers=1, quiet=True)
    assert fingerprint(alone) == fingerprint(dataset)


def test_a_finished_folder_is_left_alone_and_an_unfinished_one_completed(tmp_path: Path) -> None:
    def call() -> Path:
        return generate(tmp_path / "set", size=32, contents_per_split={"train": 2}, workers=1, quiet=True)

    root = call()
    complete = fingerprint(root)
    stamps = {path: path.stat().st_mtime_ns for path in root.rglob("*.png")}
    assert fingerprint(call()) == complete
    (root / "meta.json").unlink()
    lost = sorted(stamps)[5]
    lost.unlink()
    assert fingerprint(call()) == complete
    changed = {path for path in root.rglob("*.png") if path.stat().st_mtime_ns != stamps[path]}
    assert changed == {lost}


def test_another_recipe_is_painted_afresh(tmp_path: Path) -> None:
    root = generate(tmp_path / "set", size=32, contents_per_split={"train": 2}, workers=1, quiet=True)
    generate(root, size=24, contents_per_split={"train": 1}, workers=1, quiet=True)
    sizes = {Image.open(path).size for path in root.rglob("*.png")}
    assert sizes == {(24, 24)}
    assert len(list(root.rglob("*.png"))) == 1 + len(PAINTERS)


def test_somebody_elses_folder_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "mine.txt").write_text("mine")
    with pytest.raises(ImpastoError, match="choose another folder"):
        generate(tmp_path, size=32, contents_per_split={"train": 1}, quiet=True)
    assert (tmp_path / "train" / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("size", "counts"), [(8, {"train": 1}), (32, {"val": -1}), (32, {"test": 10**7}), (32, {"x": 1})]
)
def test_settings_out_of_range_are_refused_before_anything_is_written(
    tmp_path: Path, size: int, counts: dict[str, int]
) -> None:
    with pytest.raises(ImpastoError):
        generate(tmp_path / "set", size=size, contents_per_split=counts, quiet=True)
    assert not (tmp_path / "set").exists()


def test_painters_are_told_apart_by_simple_statistics() -> None:
    known = [(artist, statistics(paint(c, artist, 0))) for c in contents("train", 12, 128) for artist in PAINTERS]
    asked = [(artist, statistics(paint(c, artist, 0))) for c in contents("val", 6, 128) for artist in PAINTERS]
    critic = make_pipeline(StandardScaler(), LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1))
    critic.fit(np.stack([feature for _, feature in known]), [artist for artist, _ in known])
    score = critic.score(np.stack([feature for _, feature in asked]), [artist for artist, _ in asked])
    assert score >= 0.75  # chance is 1/12; nineteen numbers know nothing of the shapes of strokes


def test_painters_keep_the_content_recognisable() -> None:
    pictures = list(contents("test", 3, 128))
    for artist in PAINTERS:
        alike = []
        for picture in pictures:
            painting = paint(picture, artist, 0)
            small = [image.reshape(16, 8, 16, 8, 3).mean((1, 3, 4)).ravel() for image in (picture.image, painting)]
            alike.append(np.corrcoef(*small)[0, 1])
        assert np.mean(alike) > 0.6, artist
