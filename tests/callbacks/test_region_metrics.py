import csv

import pytest
from lightning.pytorch import LightningModule
from lightning.pytorch.loggers import CSVLogger
from PIL import Image
from stub_judges import Distance, Encoder, RedGreenBlue
from torch import nn

from callbacks.region_metrics import REGION_BASELINES, REGION_INPUTS, region_metrics
from callbacks.style_metrics import StyleMetrics
from callbacks.stylization_grid import StylizationGrid
from datamodules.local_style import LocalStyleDataModule
from lightning_modules.types import Stylization


class Reddening(LightningModule):
    """Paints every region red, whosesoever it should be, and a pixel of the background of the last job."""

    def validation_step(self, batch):
        stylized = batch.content.clone()
        stylized[:, 0] += 0.25 * batch.mask[:, 0]
        stylized[batch.index == 2, :, -1, -1] += 0.5
        return Stylization(
            stylized=stylized,
            content=batch.content,
            artist=batch.artist,
            prompt=batch.prompt,
            index=batch.index,
            mask=batch.mask,
            truth=batch.truth,
        )


@pytest.fixture(scope="module")
def measured(tmp_path_factory, quiet_trainer):
    """Validate three jobs twice; return the values of both, the callback, and the rows of the second."""
    folder = tmp_path_factory.mktemp("regions")
    # The photograph is a little blue, which is Cy's.
    for name, colour in {"grey": (51, 51, 54), "red": (115, 51, 54), "green": (51, 115, 54)}.items():
        Image.new("RGB", (32, 32), colour).save(folder / f"{name}.png")
    lines = ["image,style,region,box,truth", 'grey.png,Ada Stipple,sky,"0,0,32,16",red.png']
    lines += ['grey.png,Bo Hatch,sea,"0,16,16,32",green.png', 'grey.png,Ada Stipple,boat,"8,8,16,16",red.png']
    (folder / "jobs.csv").write_text("\n".join(lines))
    judges = {"encoder": Encoder(), "perceptual": Distance(), "artist_classifier": RedGreenBlue()}
    callback = StyleMetrics("embedded", panel=False, regions=True, extremes=1, **judges)
    trainer = quiet_trainer(logger=CSVLogger(folder, name="", version="run"), callbacks=[callback, StylizationGrid()])
    data = LocalStyleDataModule(folder / "jobs.csv", size=32, val_batch_size=2)
    values = [trainer.validate(Reddening(), datamodule=data, verbose=False)[0] for _ in range(2)]
    with (folder / "run/per_sample.csv").open(newline="") as file:
        return values, callback, list(csv.DictReader(file)), folder / "run"


def test_a_validation_of_jobs_is_measured_inside_outside_and_against_the_truth(measured):
    values, *_ = measured
    first = values[0]
    assert first["val/region_deception_embedded"] == pytest.approx(2 / 3)
    assert first["val/region_deception_ceiling_embedded"] == 1
    assert first["val/region_deception_floor_embedded"] == 0
    assert first["val/region_lpips_content_random"] == pytest.approx(0.25 / 3, abs=1e-3)
    assert first["val/region_lpips_truth_random"] == pytest.approx(0.5 / 9, abs=2e-3)
    assert first["val/background_error"] == pytest.approx(0.5 / 3)
    assert first["val/edge_seam"] == pytest.approx(0.25 / 3, abs=1e-3)
    assert {"val/region_direction_embedded", "val/region_clip_embedded", "val/region_ssim_truth"} <= first.keys()
    assert not {"val/mask_iou", "val/style_loss_embedded"} & first.keys()  # there is no true mask, and no style picture


def test_every_key_says_how_it_is_computed(measured):
    values, callback, *_ = measured
    assert values[0].keys() == callback.conventions.keys()
    for name, text in REGION_BASELINES.items():
        assert callback.conventions[f"val/{name}_embedded"].startswith(f"{text}: share of pictures")
        assert "inside" in callback.conventions[f"val/{name}_embedded"]


def test_every_job_has_a_row(measured):
    _, _, rows, folder = measured
    assert [(row["job"], row["region"]) for row in rows] == [
        ("0000_grey_sky_Ada-Stipple", "sky"),
        ("0001_grey_sea_Bo-Hatch", "sea"),
        ("0002_grey_boat_Ada-Stipple", "boat"),
    ]
    assert [float(row["region_deception_embedded"]) for row in rows] == [1, 0, 1]
    assert [float(row["background_error"]) for row in rows] == pytest.approx([0, 0, 0.5])
    grid = Image.open(next((folder / "samples").glob("*.png")))
    assert grid.width == 4 * (192 + 6) + 6  # content, region, stylized, truth: there is no condition


def test_inputs_name_metrics_that_there_are():
    made = region_metrics(RedGreenBlue(), Distance(), Clip())
    assert REGION_INPUTS.keys() <= made.keys()
    assert REGION_BASELINES.keys() <= made.keys()


class Clip(nn.Module):
    """Reads and sees nothing."""

    def encode_text(self, texts):
        raise NotImplementedError
