from pathlib import Path

import pytest
import torch
from PIL import Image

from benchmarks import readme_rows
from benchmarks.readme_rows import choose_scene, main, row
from lightning_modules.base import StyleTransferModule

PICTURES = Path(__file__).parents[2] / "docs/pictures/methods"


class Tint(StyleTransferModule):
    """Notes what it is given."""

    conditions = frozenset({"image", "text", "region"})

    def __init__(self):
        super().__init__()
        self.given = []

    def _render(self, content, manner):
        self.given.append(manner)
        return content * 0

    def training_step(self, batch, batch_idx):
        raise NotImplementedError


class Looker(Tint):
    conditions = frozenset({"image"})


@pytest.fixture(scope="module")
def scene():
    return choose_scene("city", "meadow", "sky", ["Dominic Vitrail", "Ada Stipple"], 32)


def test_a_row_is_a_scene_and_a_painting_and_a_result_for_every_painter(scene):
    method = Looker()
    drawn = row(method, scene, 32)
    assert drawn.shape == (3, 22 + 32 + 6, 6 + 5 * 38)
    one, other = (manner.style for manner in method.given)
    assert not torch.equal(one, other)
    result = drawn[:, 22:54, 6 + 2 * 38 : 6 + 2 * 38 + 32]
    assert float(result.max()) == 0


def test_who_reads_is_told_the_name_and_where(scene):
    method = Tint()
    row(method, scene, 32)
    assert [manner.prompt for manner in method.given] == [["Dominic Vitrail"], ["Ada Stipple"]]
    mask = torch.from_numpy(scene.content.regions.mask("sky"))
    assert torch.equal(method.given[0].mask[0, 0] > 0, mask)
    assert 0 < int(mask.sum()) < mask.numel()


def test_files_are_named_by_method_and_small(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(readme_rows, "open_methods", lambda checkpoints, profiles: {"tint": Tint()})
    main(["--out", str(tmp_path / "new"), "--size", "32", "--cell", "32"])
    assert Image.open(tmp_path / "new/tint.jpg").format == "JPEG"
    assert capsys.readouterr().out.splitlines() == [str(tmp_path / "new/tint.jpg")]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--painters", "Monet"], "There is no painter Monet: choose of .*Ada Stipple"),
        (["--scene", "harbour"], "There is no scene harbour: choose of .*city"),
        (["--region", "sea"], "The scene city has no region sea: choose of sky, buildings"),
        (["--checkpoint", "clast=embedded:nobody"], "nobody"),
    ],
)
def test_what_is_not_there_is_named(options, sentence, tmp_path):
    with pytest.raises(SystemExit, match=sentence):
        main([*options, "--size", "16", "--out", str(tmp_path)])


def test_the_rows_in_the_repository_are_small():
    rows = sorted(PICTURES.glob("*.jpg"))
    assert {"clast", "contraast"} <= {file.stem for file in rows}
    assert sum(file.stat().st_size for file in rows) < 400e3
