import base64
import io
import json

import pytest
import torch
from PIL import Image

from callbacks.stylization_grid import LAYOUT, Sample, describe_grid, draw_grid, titles_of
from datamodules.images import write_image
from experiments.report.entries import Entry
from experiments.report.painted import spread
from experiments.report.pictures import make_gallery, read_grid
from experiments.report.records import Evaluation, RunRecord
from lightning_modules.errors import ImpastoError

CELL = 24


def picture(value):
    return torch.full((3, 16, 24), value, dtype=torch.uint8)


def entry(folder, name, rows, *, laid_out=True):
    """An entry whose grid has rows of (content, style, stylised, prompt), each a grey."""
    samples = [
        Sample({"content": picture(c), "style": picture(s), "stylized": picture(x)}, 0, prompt)
        for c, s, x, prompt in rows
    ]
    path = folder / name / "000006.png"
    texts = {LAYOUT: json.dumps(describe_grid(samples, CELL, titles_of(samples)))} if laid_out else {}
    write_image(draw_grid(samples, CELL), path, texts)
    return Entry(name, [RunRecord(name, name, {"method": name}, grid=path)])


def grey(shot):
    data = base64.b64decode(shot.uri.removeprefix("data:image/jpeg;base64,"))
    return Image.open(io.BytesIO(data)).convert("L").getpixel((8, 8))


def test_what_several_painted_stands_side_by_side(tmp_path):
    one = entry(tmp_path, "one", [(10, 20, 30, "p"), (40, 50, 60, "q")])
    other = entry(tmp_path, "other", [(40, 50, 61, "q"), (10, 21, 31, "p"), (10, 20, 32, "r")])
    shared, *alone = make_gallery([one, other]).blocks
    (pair,) = shared.pairs
    assert shared.titles == ["content", "condition", "one", "other"]
    assert pair.prompt == "q"
    assert [grey(shot) for shot in pair.given + pair.painted] == pytest.approx([40, 50, 60, 61], abs=1)
    assert sorted(len(block.pairs) for block in alone) == [1, 2]  # another style, or other words, is another row


def test_what_is_drawn_twice_from_the_same_words_stands_in_two_rows(tmp_path):
    one = entry(tmp_path, "one", [(10, 20, 30, "p"), (10, 20, 33, "p")])
    other = entry(tmp_path, "other", [(10, 20, 31, "p"), (10, 20, 34, "p")])
    (block,) = make_gallery([one, other]).blocks
    drawn = [[grey(shot) for shot in pair.painted] for pair in block.pairs]
    assert [pytest.approx(row, abs=1) for row in drawn] == [[30, 31], [33, 34]]


def test_a_grid_that_does_not_say_where_its_pictures_are_is_shown_whole(tmp_path):
    gallery = make_gallery([entry(tmp_path, "old", [(1, 2, 3, "p")], laid_out=False)])
    assert not gallery.blocks
    assert [sheet.title for sheet in gallery.sheets] == ["old"]


def test_pictures_shrink_and_then_rows_go_to_keep_the_page_small(tmp_path):
    noise = torch.randint(0, 256, (4, 3, 300, 300), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    samples = [Sample({"content": noise[0], "stylized": noise[n]}, 0, str(n)) for n in range(4)]
    path = tmp_path / "000001.png"
    titles = titles_of(samples)
    write_image(draw_grid(samples, 300), path, {LAYOUT: json.dumps(describe_grid(samples, 300, titles))})
    noisy = Entry("noisy", [RunRecord("n", "n", {"method": "m"}, grid=path)])

    def size(gallery):
        return sum(len(s.uri) for block in gallery.blocks for pair in block.pairs for s in (*pair.given, *pair.painted))

    whole = make_gallery([noisy])
    half = make_gallery([noisy], budget=size(whole) // 2)
    few = make_gallery([noisy], budget=size(whole) // 10)
    assert whole.left_out == half.left_out == 0
    assert size(half) <= size(whole) // 2
    assert 0 < few.left_out < 4
    assert size(few) <= size(whole) // 10


@pytest.mark.parametrize(
    "text", ["[", "[]", '{"columns": {"content": "content"}, "rows": [{"prompt": "p", "boxes": []}]}']
)
def test_a_grid_that_says_nonsense_of_itself_is_one_sentence(tmp_path, text):
    write_image(torch.zeros(3, 8, 8), tmp_path / "g.png", {LAYOUT: text})
    with pytest.raises(ImpastoError, match=r"g\.png is damaged"):
        read_grid(tmp_path / "g.png")


def test_of_contents_times_styles_no_content_and_no_style_is_shown_twice():
    rows = [{"content": content, "style": style} for content in "abcdefghijkl" for style in "mnopqrstuvwx"]
    chosen = spread(rows, 4)
    assert len(chosen) == 4
    assert all(len({row[side] for row in chosen}) == 4 for side in ("content", "style"))
    assert spread([{"id": "1"}, {"id": "2"}, {"id": "3"}], 2) == [{"id": "1"}, {"id": "2"}]
    assert spread([], 5) == []


def test_an_evaluation_shows_the_same_pairs_of_every_method(tmp_path):
    def evaluated(name, value, ids, **how):
        folder = tmp_path / " ".join([name, *how.values()])
        folder.mkdir()
        lines = ["id,stylized,content,artist,x"]
        for number in ids:
            for kind, shade in (("s", value), ("c", number)):
                Image.new("RGB", (16, 12), (shade, shade, shade)).save(folder / f"{kind}{number}.png")
            lines.append(f"{number},s{number}.png,c{number}.png,artist {number},0.5")
        (folder / "evaluation.csv").write_text("\n".join(lines) + "\n")
        said = Evaluation(name, name, {"name": "p", "sha256": "1"}, {}, {}, {}, None, "cpu", "", str(folder), how)
        return Entry(name, [], [said])

    one, other = evaluated("one", 200, range(24)), evaluated("other", 100, range(24))
    (block,) = make_gallery([one, other]).blocks
    assert block.titles == ["content", "one", "other"]
    assert [pair.prompt for pair in block.pairs] == [f"artist {number}" for number in range(0, 24, 3)]
    assert [grey(shot) for shot in block.pairs[0].given + block.pairs[0].painted] == pytest.approx([0, 200, 100], abs=1)
    text, image = (evaluated("two", value, range(24), condition=by) for value, by in ((50, "text"), (70, "image")))
    text.evaluations += image.evaluations
    (both,) = make_gallery([text]).blocks
    assert both.titles == ["content", "two, by text", "two, by image"]
    assert [grey(shot) for shot in both.pairs[0].painted] == pytest.approx([50, 70], abs=1)
    (tmp_path / "other/s0.png").unlink()
    (tmp_path / "one/c3.png").write_bytes(b"no picture")
    assert sum(len(block.pairs) for block in make_gallery([one, other]).blocks) == 8
