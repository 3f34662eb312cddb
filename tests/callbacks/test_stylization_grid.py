import json

import numpy as np
import pytest
import torch
from PIL import Image

from callbacks.stylization_grid import LAYOUT, Sample, StylizationGrid, choose, draw_grid, titles_of


def picture(value, height=8, width=12):
    return torch.full((3, height, width), value, dtype=torch.uint8)


def sample(artist, content=0, prompt="p", truth=None):
    pictures = {"content": picture(content), "style": picture(1), "stylized": picture(2), "truth": truth}
    return Sample({name: shown for name, shown in pictures.items() if shown is not None}, artist, prompt)


class FakeTrainer:
    is_global_zero = True
    sanity_checking = False
    global_step = 40
    loggers = ()

    def __init__(self, log_dir):
        self.log_dir = str(log_dir)


def outputs(artists):
    images = torch.rand(len(artists), 3, 8, 12)
    return {
        "content": images,
        "style": images,
        "stylized": images,
        "truth": images,
        "artist": torch.tensor(artists),
        "prompt": [f"artist {artist}" for artist in artists],
        "index": torch.arange(len(artists)),
    }


def validate(grid, trainer, *batches):
    grid.on_validation_epoch_start(trainer, None)
    for number, artists in enumerate(batches):
        grid.on_validation_batch_end(trainer, None, outputs(artists), None, number)
    grid.on_validation_end(trainer, None)


def test_artists_take_turns():
    chosen = choose([sample(0), sample(0), sample(0), sample(1), sample(2)], 4)
    assert [row.artist for row in chosen] == [0, 1, 2, 0]


def test_contents_that_no_row_shows_come_first():
    chosen = choose([sample(0, content=1), sample(1, content=1), sample(1, content=2)], 2)
    assert [int(row.pictures["content"][0, 0, 0]) for row in chosen] == [1, 2]


def test_choosing_batch_by_batch_reaches_late_artists(tmp_path):
    grid = StylizationGrid(samples=3)
    trainer = FakeTrainer(tmp_path)
    grid.on_validation_epoch_start(trainer, None)
    for number, artists in enumerate(([0, 0, 0], [1, 1, 1], [2, 2, 2])):
        grid.on_validation_batch_end(trainer, None, outputs(artists), None, number)
    assert sorted(row.artist for row in grid._chosen) == [0, 1, 2]


@pytest.mark.parametrize(("truth", "columns"), [(None, 3), (picture(3), 4)])
def test_the_grid_has_a_column_per_picture(truth, columns):
    drawn = draw_grid([sample(0, truth=truth), sample(1, truth=truth, prompt="long " * 60)], cell=24)
    assert drawn.shape[2] == columns * 30 + 6
    assert 0 <= float(drawn.min()) <= float(drawn.max()) <= 1


def test_it_writes_named_after_the_iteration_and_leaves_the_random_state(tmp_path):
    grid = StylizationGrid(samples=2, every_n_validations=2, cell=16)
    trainer = FakeTrainer(tmp_path)
    state = torch.get_rng_state()
    batch = outputs([0, 1])
    torch.set_rng_state(state)
    grid.on_validation_epoch_start(trainer, None)
    grid.on_validation_batch_end(trainer, None, batch, None, 0)
    grid.on_validation_end(trainer, None)
    assert torch.equal(torch.get_rng_state(), state)
    trainer.global_step = 80
    validate(grid, trainer, [0, 1])
    assert [path.name for path in (tmp_path / "samples").iterdir()] == ["000040.png"]
    assert Image.open(tmp_path / "samples/000040.png").mode == "RGB"


@pytest.mark.parametrize(("attribute", "value"), [("sanity_checking", True), ("is_global_zero", False)])
def test_it_stays_silent_where_it_should(tmp_path, attribute, value):
    trainer = FakeTrainer(tmp_path)
    setattr(trainer, attribute, value)
    validate(StylizationGrid(), trainer, [0, 1])
    assert not list(tmp_path.iterdir())


def test_under_what_was_drawn_from_words_stands_the_prompt_across_all_columns():
    drawn = Sample({"stylized": picture(0), "style": picture(0)}, 0, "a long prompt")
    assert list(titles_of([drawn])) == ["stylized", "style", "truth"]
    sheet = draw_grid([drawn], cell=60)
    assert sheet.shape == (3, 22 + 40 + 28, 2 * 66 + 6)
    captions = [sheet[:, 62:, left : left + 60] for left in (6, 72)]
    assert [float(caption.min()) < 1 for caption in captions] == [True, True]


@pytest.mark.parametrize(("notes", "inked"), [({"b": "note"}, [True, False]), ({}, [False, True])])
def test_notes_stand_under_single_pictures_else_the_prompt_under_the_second(notes, inked):
    drawn = draw_grid([Sample({"a": picture(0), "b": picture(0)}, 0, "p", notes)], cell=60, titles={"b": "B", "a": "A"})
    assert drawn.shape == (3, 22 + 40 + 28, 2 * 66 + 6)
    captions = [drawn[:, 62:, left : left + 60] for left in (6, 72)]
    assert [float(caption.min()) < 1 for caption in captions] == inked


def test_the_file_says_where_its_pictures_are(tmp_path):
    grid, trainer = StylizationGrid(samples=2, cell=16), FakeTrainer(tmp_path)
    validate(grid, trainer, [0, 1])
    with Image.open(tmp_path / "samples/000040.png") as file:
        layout, sheet = json.loads(file.text[LAYOUT]), file.convert("RGB")
    assert layout["columns"] == {"content": "content", "style": "condition", "stylized": "stylized", "truth": "truth"}
    assert [(row["artist"], row["prompt"], row["index"]) for row in layout["rows"]] == [
        (0, "artist 0", 0),
        (1, "artist 1", 1),
    ]
    for row, chosen in zip(layout["rows"], grid.chosen, strict=True):
        for name, (left, top, right, bottom) in row["boxes"].items():
            assert (right - left, bottom - top) == (16, 11)
            shown = np.array(sheet.crop((left, top, right, bottom)))
            whole = Image.fromarray(chosen.pictures[name].permute(1, 2, 0).numpy())
            assert (shown == np.array(whole.resize((16, 11), Image.Resampling.LANCZOS))).all()
