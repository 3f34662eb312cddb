"""The predictor's experiment: it learns, calibrates, keeps features, and names the least certain."""

import csv
import json

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger
from PIL import Image

from callbacks.least_certain import LeastCertain
from callbacks.stylistic_accuracy import StylisticAccuracy
from datamodules.annotation_sources import AnnotatedFolders
from datamodules.annotations import AnnotationDataModule
from lightning_modules.classifiers.stylistic import StylisticPrediction
from lightning_modules.types import AnnotatedBatch, StyleBatch


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Painters of noise, each of another colour, beside plain gradients; and one file that is no picture."""
    root, noise = tmp_path_factory.mktemp("annotated"), np.random.default_rng(0)
    ramp = np.linspace(0, 255, 32)[:, None, None] * np.ones((1, 32, 3))
    for number in range(6):
        for title in range(4):
            tint = noise.uniform(0.5, 1.0, 3)
            pictures = {"stylistic": noise.integers(0, 255, (32, 32, 3)), "plain": np.rot90(ramp, title)}
            for kind, pixels in pictures.items():
                place = root / kind / f"{kind[0]}{number}"
                place.mkdir(parents=True, exist_ok=True)
                Image.fromarray((pixels * tint).astype(np.uint8)).save(place / f"{title}.png")
    (root / "plain" / "p0" / "9.png").write_bytes(b"nothing")
    return root


def data(folder, **changes):
    options = {"size": 32, "batch_size": 8, "batches_per_epoch": 10, "pool": folder / "stylistic"}
    return AnnotationDataModule(AnnotatedFolders(folder, holdout=0.2), **options | changes)


def module(**changes):
    torch.manual_seed(0)
    options = {"weights": "embedded", "side": 32, "hidden": (16,)}
    return StylisticPrediction(lambda groups: torch.optim.AdamW(groups, lr=3e-3), **options | changes)


def trainer(folder, steps=30, **settings):
    return Trainer(
        accelerator="cpu",
        max_steps=steps,
        max_epochs=-1,
        logger=CSVLogger(folder, name="stylistic", version="a"),
        callbacks=[StylisticAccuracy(), LeastCertain(count=5)],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        **settings,
    )


@pytest.fixture(scope="module")
def trained(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IMPASTO_CACHE", str(out / "cache"))
        net, run = module(), trainer(out)
        run.fit(net, datamodule=data(folder))
        yield net, run, out


def test_it_learns_from_features_alone_and_knows_new_painters(trained):
    net, run, _ = trained
    assert net.method == "stylistic"
    assert run.global_step == 30
    assert float(run.callback_metrics["train/total"]) < 0.35
    assert float(run.callback_metrics["val/accuracy_macro"]) == 1.0


def test_figures_of_the_validation_lie_beside_the_run(trained):
    net, run, out = trained
    report = json.loads((out / "stylistic" / "a" / "stylistic_val.json").read_text())
    assert report["confusion"] == {
        "plain": {"plain": 4, "stylistic": 0},
        "stylistic": {"plain": 0, "stylistic": 4},
    }
    assert len(report["right_of"]) == 2
    assert report["temperature"] == pytest.approx(float(net.temperature))
    assert (out / "stylistic" / "a" / "reliability_val.png").stat().st_size > 1000
    assert set(run.callbacks[0].conventions) == {
        f"val/{name}" for name in ("accuracy", "accuracy_macro", "loss", "ece", "ece_raw", "temperature", "bias")
    }


def test_a_second_run_looks_at_no_picture(trained, folder):
    _, _, out = trained
    net, seen = module(), []
    net.content.register_forward_hook(lambda *call: seen.append(len(call[1][0])))
    trainer(out / "again", steps=2).fit(net, datamodule=data(folder))
    assert seen == [1]  # black, for the width


def test_the_test_leaves_the_calibration_alone(trained, folder):
    net, _, out = trained
    before = float(net.temperature), float(net.bias)
    run = trainer(out / "test")
    run.test(net, datamodule=data(folder), verbose=False)
    assert (float(net.temperature), float(net.bias)) == before
    assert float(run.callback_metrics["test/accuracy_macro"]) == 1.0
    assert "test/temperature" not in run.callback_metrics


def test_the_least_certain_are_exported_to_be_annotated(trained, folder):
    net, _, out = trained
    trainer(out / "predict").predict(net, datamodule=data(folder), return_predictions=False)
    place = out / "predict" / "stylistic" / "a"
    with (place / "uncertain.csv").open() as file:
        uncertain = list(csv.DictReader(file))
    with (place / "predictions.csv").open() as file:
        everything = {row["path"]: float(row["probability"]) for row in csv.DictReader(file)}
    assert len(everything) == 24
    nearest = sorted(abs(p - 0.5) for p in everything.values())[:5]
    assert [abs(float(row["probability"]) - 0.5) for row in uncertain] == pytest.approx(nearest)
    assert all(row["label"] == "" for row in uncertain)
    assert Image.open(place / "uncertain.jpg").width > 500


def test_probabilities_of_pictures_agree_with_those_of_features(trained, folder):
    net, _, _ = trained
    module_data = data(folder)
    module_data.setup("test")
    net.eval()
    numbers = range(0, len(module_data.annotations), 3)
    pictures = torch.stack([module_data.pictures[number] for number in numbers])
    labels = torch.tensor([module_data.annotations[number].stylistic for number in numbers])
    with torch.no_grad():
        assert torch.equal(net(pictures) > 0.5, labels)


def test_a_picture_that_cannot_be_read_counts_nothing():
    net = module()
    net.features = torch.full((2, sum(net.head.widths)), torch.nan)
    net.features[0] = 0.5
    one, none = torch.tensor([0]), torch.tensor([1])
    batch = AnnotatedBatch(torch.cat((one, none)), torch.tensor([1.0, 0.0]), one.repeat(2), ["a", "a"], torch.arange(2))
    logits = net.eval().validation_step(batch, 0)["logits"]
    assert logits.isfinite().tolist() == [True, False]


def test_of_a_style_batch_styles_are_stylistic_and_contents_are_not():
    net = module().eval()
    pictures = torch.rand(2, 3, 32, 32)
    batch = StyleBatch(pictures, pictures.flip(0), torch.tensor([4, 5]), ["a", "b"], torch.tensor([7, 8]))
    judged = net.validation_step(batch, 0)
    assert judged["label"].tolist() == [1, 1, 0, 0]
    assert judged["group"].tolist() == [4, 5, -1, -1]
    assert judged["index"].tolist() == [14, 16, 15, 17]
    assert torch.allclose(judged["logits"][:2], judged["logits"][2:].flip(0), atol=1e-5)


def test_calibration_is_part_of_the_probability_and_of_the_checkpoint():
    net = module()
    net.calibrate(2.0, -1.0)
    assert torch.allclose(net.probabilities(torch.tensor([4.0])), torch.sigmoid(torch.tensor([1.0])))
    state = net.state_dict()
    assert {"temperature", "bias"} <= state.keys()
    assert not [name for name in state if name.startswith(("content.", "style."))]
    other = module()
    other.load_state_dict(state)
    assert (float(other.temperature), float(other.bias)) == (2.0, -1.0)
