import pytest
import torch
from PIL import Image

from callbacks.other_runs import OtherRuns
from callbacks.stylization_grid import StylizationGrid
from experiments.runs.table import RunTable
from lightning_modules.errors import ImpastoError


@pytest.fixture
def other(dreaming, quiet_trainer, tmp_path):
    """Return the checkpoint of another run, brighter than the first."""
    module = dreaming.Dreamer()
    torch.nn.init.ones_(module.light)
    trainer = quiet_trainer(max_steps=0)
    trainer.fit(module, dreaming.loader())
    path = tmp_path / "runs/ti/checkpoints/last.ckpt"
    trainer.save_checkpoint(path)
    return path


class Columns(StylizationGrid):
    """Keeps the rows and titles that it draws."""

    def on_validation_end(self, trainer, pl_module):
        self.rows, self.titles = list(self.chosen), self._titles()
        super().on_validation_end(trainer, pl_module)


def test_another_run_draws_the_same_prompts_beside(dreaming, quiet_trainer, tmp_path, other, monkeypatch):
    module, grid = dreaming.Dreamer(), Columns(samples=3, cell=24)
    drawn = []
    plain = dreaming.Dreamer._draw
    monkeypatch.setattr(dreaming.Dreamer, "_draw", lambda self, p, order: drawn.append(len(p)) or plain(self, p, order))
    logger = RunTable(tmp_path, name="dreamer", version="a")
    callbacks = [grid, OtherRuns({"textual inversion": other.parents[1]})]
    trainer = quiet_trainer(logger=logger, callbacks=callbacks)
    for _ in range(2):
        trainer.validate(module, dreaming.loader(), verbose=False)
    assert drawn == [2, 2, 1, 1, 1, 2, 2]  # another run's pictures are drawn once
    assert list(grid.titles.values()) == ["drawn", "textual inversion", "by the artist", "truth"]
    assert len(grid.rows) == 3
    for row in grid.rows:
        ours, theirs = (row.pictures[name].float() for name in ("stylized", "textual inversion"))
        assert (theirs - 4 * ours).abs().max() <= 2.5  # the same noise, four times as bright, in 8 bits
        assert row.pictures["style"].shape == (3, 48, 48)
    assert float(module.light.detach().max()) == 0.25
    (picture,) = (tmp_path / "dreamer/a/samples").glob("*.png")
    assert Image.open(picture).width == 3 * 30 + 6


def test_a_fit_ends_in_the_same_bits_with_and_without(dreaming, quiet_trainer, tmp_path, other):
    ends = []
    for callbacks in ([], [StylizationGrid(cell=24), OtherRuns({"ti": other})]):
        module = dreaming.Dreamer()
        settings = {"max_steps": 4, "max_epochs": -1, "num_sanity_val_steps": 0, "default_root_dir": tmp_path}
        trainer = quiet_trainer(callbacks=callbacks, **settings)
        trainer.fit(module, dreaming.loader(), dreaming.loader())
        ends.append(module.light.detach())
    assert torch.equal(*ends)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda path: path.unlink(), "There is no checkpoint at"),
        (lambda path: path.write_text("nothing"), "is not a checkpoint that can be read"),
        (lambda path: edit(path, "impasto", "method", "clast"), "was written by clast"),
        (lambda path: edit(path, "state_dict", "light", torch.ones(2, 3)), "do not fit this Dreamer"),
    ],
)
def test_what_is_not_such_a_run_is_one_sentence(dreaming, other, change, words):
    change(other)
    with pytest.raises(ImpastoError, match=words):
        OtherRuns({"ti": other}).setup(None, dreaming.Dreamer(), "fit")


def edit(path, part, key, value):
    checkpoint = torch.load(path, weights_only=True)
    checkpoint[part][key] = value
    torch.save(checkpoint, path)
