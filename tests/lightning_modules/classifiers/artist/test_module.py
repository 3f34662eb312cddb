"""The classifier's experiment: it learns, resumes exactly, and what it exports is what the deception rate loads."""

import json

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger
from PIL import Image
from torch import nn

from callbacks.artist_accuracy import ArtistAccuracy
from datamodules.artists import ArtistDataModule
from datamodules.sources import WikiArt
from lightning_modules.classifiers.artist import ArtistClassification
from lightning_modules.errors import ImpastoError
from lightning_modules.networks.artist_classifier import ArtistVGG, build_network
from lightning_modules.weights import load_artist_classifier
from metrics.deception import DeceptionRate

SMALL = {"widths": (8, 16), "depths": (1, 1), "jitter": 0.1, "smoothing": 0.0}


@pytest.fixture(scope="module")
def paintings(tmp_path_factory):
    """Three artists who differ in their strokes: lying, standing, none."""
    root = tmp_path_factory.mktemp("paintings")
    noise = np.random.default_rng(0)
    for artist, shape in {"lying-lines": (40, 1), "standing_lines": (1, 40), "Flat": (1, 1)}.items():
        (root / artist).mkdir()
        for number in range(10):
            strokes = np.broadcast_to(noise.integers(0, 255, (*shape, 3), dtype=np.uint8), (40, 40, 3))
            Image.fromarray(np.ascontiguousarray(strokes)).save(root / artist / f"{number}.png")
    return root


def data(root, **changes):
    options = {"size": 32, "val_size": 40, "batch_size": 6, "artists_per_batch": 3, "batches_per_epoch": 4}
    return ArtistDataModule(WikiArt(root, holdout=0.3), **options, workers=0, cache_in_memory=True, **changes)


def module(**changes):
    def schedule(optimizer):
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.97**step)

    torch.manual_seed(0)
    return ArtistClassification(lambda groups: torch.optim.AdamW(groups, lr=1e-2), schedule, **SMALL | changes)


def trainer(folder, steps, **settings):
    return Trainer(
        accelerator="cpu",
        max_steps=steps,
        max_epochs=-1,
        logger=CSVLogger(folder, name="artist", version="a"),
        callbacks=[ArtistAccuracy()],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        log_every_n_steps=1,
        **settings,
    )


@pytest.fixture(scope="module")
def trained(paintings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    torch.manual_seed(0)
    net, run = module(), trainer(folder, 24, num_sanity_val_steps=1)
    run.fit(net, datamodule=data(paintings))
    return net, run, folder / "artist" / "a" / "artist_classifier.safetensors"


def test_it_learns_and_logs(trained):
    net, run, _ = trained
    assert net.method == "artist"
    assert run.global_step == 24
    assert float(run.callback_metrics["val/accuracy"]) >= 0.8
    keys = {"val/accuracy", "val/accuracy_macro", "val/accuracy_top5", "val/loss"}
    assert keys == set(run.callbacks[0].conventions) <= set(run.callback_metrics)
    assert float(run.callback_metrics["val/accuracy_top5"]) == 1.0  # there are three artists
    assert "on 9 held-out paintings" in run.callbacks[0].conventions["val/loss"]


def test_the_export_is_the_classifier_of_the_deception_rate(trained, paintings):
    net, _, path = trained
    judge = load_artist_classifier(path)
    assert judge.artists == ("Flat", "lying lines", "standing lines") == net.artists
    measured = json.loads(path.with_suffix(".json").read_text())["measured"]
    assert set(measured["accuracy_of"]) == set(judge.artists)
    assert len(measured["split_hash"]) == 64
    held_out = data(paintings)
    held_out.setup("fit")
    rate = DeceptionRate(judge, average="macro")
    for batch in held_out.val_dataloader():
        rate.update(batch.style, batch.prompt)
    assert float(rate.compute()) == pytest.approx(measured["accuracy_macro"], abs=0.12)  # weights are rounded to fp16


def test_the_best_validation_is_exported_and_a_worse_one_is_not(paintings, tmp_path):
    callback = ArtistAccuracy()
    callback.load_state_dict({"best": 1.0})
    run = trainer(tmp_path, 4)
    run.callbacks[0] = callback
    run.fit(module(), datamodule=data(paintings))
    assert not list(tmp_path.rglob("*.safetensors"))
    assert callback.state_dict() == {"best": 1.0}


def test_an_interrupted_run_continues_to_the_same_bits(paintings, tmp_path):
    straight = module()
    trainer(tmp_path / "one", 7).fit(straight, datamodule=data(paintings))
    first = trainer(tmp_path / "two", 5)  # in the middle of the second epoch
    first.fit(module(), datamodule=data(paintings))
    first.save_checkpoint(tmp_path / "five.ckpt")
    continued = module()
    run = trainer(tmp_path / "three", 7)
    run.fit(continued, datamodule=data(paintings), ckpt_path=tmp_path / "five.ckpt", weights_only=True)
    assert run.global_step == 7
    for (name, one), other in zip(straight.state_dict().items(), continued.state_dict().values(), strict=True):
        assert torch.equal(one, other), name


def test_the_optimiser_spares_biases_and_norms(trained):
    decayed, spared = trained[1].optimizers[0].param_groups
    assert spared["weight_decay"] == 0.0 < decayed["weight_decay"]
    assert {p.ndim for p in spared["params"]} == {1}
    assert sum(len(group["params"]) for group in (decayed, spared)) == len(list(trained[0].parameters()))


def test_augmentation_follows_the_seed_and_takes_a_size_of_the_list():
    net, crops = module(sizes=(32, 48)), torch.rand(4, 3, 40, 40)
    seen = set()
    for seed in range(6):
        torch.manual_seed(seed)
        one = net.augment(crops)
        torch.manual_seed(seed)
        assert torch.equal(one, net.augment(crops))
        assert 0 <= float(one.min()) <= float(one.max()) <= 1
        seen.add(one.shape[-1])
    assert seen == {32, 48}


def test_impossible_settings_are_one_sentence(paintings, tmp_path):
    with pytest.raises(ImpastoError, match="no pretrained weights of a brushwork network"):
        module(weights="pretrained")
    (tmp_path / "alone").mkdir()
    for number in range(4):
        (tmp_path / "alone" / f"{number}.png").write_bytes((paintings / "Flat" / f"{number}.png").read_bytes())
    lonely = data(tmp_path)
    lonely.artists_per_batch = 1
    with pytest.raises(ImpastoError, match="at least two artists, but the data names 1"):
        trainer(tmp_path, 1).fit(module(), datamodule=lonely)
    with pytest.raises(ImpastoError, match="kind 'resnet'"):
        build_network({"artists": ["A"], "network": "resnet"})
    with pytest.raises(ImpastoError, match="lacks 'depths'"):
        build_network({"artists": ["A"], "widths": [8]})


def test_the_vgg_is_configuration_d():
    with torch.device("meta"):
        net = ArtistVGG(624)
        assert net(torch.empty(2, 3, 300, 400)).shape == (2, 624)
    # 138 357 544 parameters with 1000 classes, of which the last layer has 4097 for each.
    assert sum(p.numel() for p in net.parameters()) == 138_357_544 - 4097 * (1000 - 624)


class LittleVGG(nn.Module):
    """Has the parts of torchvision's VGG that the classifier names."""

    def __init__(self, num_classes):
        super().__init__()
        self.features = nn.Conv2d(3, 4, 3)
        self.avgpool = nn.Identity()
        self.classifier = nn.Sequential(nn.Identity(), nn.Linear(4 * 222 * 222, num_classes))

    def forward(self, images):
        return self.classifier(self.features(images).flatten(1))


@pytest.fixture
def little(monkeypatch):
    monkeypatch.setattr("torchvision.models.vgg16", LittleVGG)


@pytest.mark.usefixtures("little")
@torch.no_grad()
def test_the_vgg_sees_the_middle_square_whatever_the_size():
    net, picture = ArtistVGG(3), torch.rand(1, 3, 224, 224)
    sides = torch.full((1, 3, 224, 51), 0.5)
    wide = torch.cat((sides, picture, sides), dim=3)
    assert torch.equal(net(wide), net(picture))
    assert torch.equal(net(wide.transpose(2, 3)), net(picture.transpose(2, 3)))
    flat = net(torch.full((1, 3, 224, 224), 0.3))
    for size in ((448, 500), (100, 64), (225, 223)):
        assert torch.allclose(net(torch.full((1, 3, *size), 0.3)), flat, atol=1e-4)


@pytest.mark.usefixtures("little")
def test_the_vgg_starts_from_imagenet_but_for_its_last_layer(monkeypatch, paintings, tmp_path):
    imagenet = {name: torch.full_like(value, 0.5) for name, value in LittleVGG(1000).state_dict().items()}
    monkeypatch.setattr("lightning_modules.classifiers.artist.module.load_vgg16_state", lambda: imagenet)
    net = module(network="vgg16", weights="pretrained")
    small = ArtistDataModule(
        WikiArt(paintings, holdout=0.3), size=224, batch_size=3, artists_per_batch=3, batches_per_epoch=1, workers=0
    )
    net.make_optimizer = lambda groups: torch.optim.SGD(groups, lr=0.0)
    trainer(tmp_path, 1).fit(net, datamodule=small)
    assert net.network.network.features.weight.detach().unique().tolist() == [0.5]
    assert net.network.network.classifier[1].weight.shape[0] == 3
    assert net.network.network.classifier[1].weight.detach().std() > 0
    judge = load_artist_classifier(next(tmp_path.rglob("*.safetensors")))
    assert isinstance(judge.network, ArtistVGG)
    assert judge.network.network.features.weight.unique().tolist() == [0.5]
