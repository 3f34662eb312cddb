import pytest
import torch

from lightning_modules.checkpoints import build, load_checkpoint
from lightning_modules.contraast.convert import RECIPE, convert
from lightning_modules.contraast.networks import Transform
from lightning_modules.errors import ImpastoError
from lightning_modules.networks.mirrored_decoder import Decoder
from lightning_modules.weights import load_vgg

CONVOLUTIONS = [(512, 256), *[(256, 256)] * 3, (256, 128), (128, 128), (128, 64), (64, 64), (64, 3)]
PLACES = (1, 5, 8, 11, 14, 18, 21, 25, 28)


def convolution(name, inputs, outputs, kernel, generator):
    return {
        f"{name}.weight": torch.randn(outputs, inputs, kernel, kernel, generator=generator),
        f"{name}.bias": torch.randn(outputs, generator=generator),
    }


@pytest.fixture
def released(tmp_path):
    """Fabricate the two files of the public code."""
    generator = torch.Generator().manual_seed(0)
    decoder, transform = {}, {}
    for place, (inputs, outputs) in zip(PLACES, CONVOLUTIONS, strict=True):
        decoder |= convolution(str(place), inputs, outputs, 3, generator)
    for level in ("sanet4_1", "sanet5_1"):
        for part in ("f", "g", "h", "out_conv"):
            transform |= convolution(f"{level}.{part}", 512, 512, 1, generator)
    transform |= convolution("merge_conv", 512, 512, 3, generator)
    torch.save(decoder, tmp_path / "decoder_iter_160000.pth")
    torch.save(transform, tmp_path / "transformer_iter_160000.pth")
    return tmp_path, decoder, transform


def test_the_public_files_map_one_to_one(released):
    folder, decoder, transform = released
    result = convert(folder)
    assert result.complete
    assert not result.unexpected
    assert len(result.mapped) == len(decoder) + len(transform)
    state = result.checkpoint["state_dict"]
    assert torch.equal(state["generator.decoder.stage3.3.convolution.weight"], decoder["14.weight"])
    assert torch.equal(state["generator.transform.attentions.1.key.bias"], transform["sanet5_1.g.bias"])
    torch.nn.Module.load_state_dict(
        Decoder([64, 128, 256, 512]),
        {k.removeprefix("generator.decoder."): v for k, v in state.items() if ".decoder." in k},
    )
    Transform(512)


def save_iteration(folder, decoder, transform, number, factor):
    """Write both files of another iteration, whose values tell it apart."""
    torch.save({name: tensor * factor for name, tensor in decoder.items()}, folder / f"decoder_iter_{number}.pth")
    torch.save({name: tensor * factor for name, tensor in transform.items()}, folder / f"transformer_iter_{number}.pth")


def factor_of(result, decoder, transform):
    """Return the factors of decoder and transform that were taken."""
    state = result.checkpoint["state_dict"]
    ours = state["generator.decoder.stage1.1.convolution.bias"], state["generator.transform.merge.convolution.bias"]
    theirs = decoder["28.bias"], transform["merge_conv.bias"]
    return tuple(round(float((a / b).mean())) for a, b in zip(ours, theirs, strict=True))


def test_a_file_finds_its_own_iteration_and_a_folder_gives_the_newest_that_is_whole(released):
    folder, decoder, transform = released
    save_iteration(folder, decoder, transform, 9000, 3)
    for name in ("decoder_iter_9000.pth", "transformer_iter_9000.pth"):
        assert factor_of(convert(folder / name), decoder, transform) == (3, 3)
    assert factor_of(convert(folder), decoder, transform) == (1, 1)
    (folder / "decoder_iter_160000.pth").unlink()
    assert factor_of(convert(folder), decoder, transform) == (3, 3)


@pytest.mark.parametrize("name", ["decoder_iter_9000.pth", "transformer_iter_9000.pth"])
def test_an_iteration_without_its_counterpart_is_not_filled_from_another(released, name):
    folder, decoder, transform = released
    save_iteration(folder, decoder, transform, 9000, 3)
    other = "transformer_iter_9000.pth" if name.startswith("decoder") else "decoder_iter_9000.pth"
    (folder / other).unlink()
    with pytest.raises(ImpastoError, match=f"There is no {other} beside"):
        convert(folder / name)


@pytest.mark.parametrize("name", ["decoder_iter_99.pth", "weights", "nowhere/model"])
def test_a_path_that_is_not_there_is_not_replaced_by_what_lies_beside_it(released, name):
    folder, *_ = released
    with pytest.raises(ImpastoError, match=rf"There is no .*{name}: give"):
        convert(folder / name)


def test_a_strange_file_is_not_replaced_by_what_lies_beside_it(released):
    folder, decoder, _ = released
    torch.save(decoder, folder / "mine.pth")
    with pytest.raises(ImpastoError, match=r"mine\.pth is named neither"):
        convert(folder / "mine.pth")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_broken_weights_are_not_converted(released, value):
    folder, decoder, _ = released
    decoder["14.weight"][3, 2, 1, 0] = value
    torch.save(decoder, folder / "decoder_iter_160000.pth")
    result = convert(folder)
    assert not result.complete
    assert not result.checkpoint
    assert "broken: generator.decoder.stage3.3.convolution.weight holds NaN or infinite values" in result.report()


def test_the_recipe_trains_on_with_the_public_codes_optimisers(released):
    folder, *_ = released
    model = build({**RECIPE, "init_args": {**RECIPE["init_args"], "weights": "random"}})
    generator, discriminator = model.configure_optimizers()
    assert [group["betas"] for group in generator.param_groups] == [(0.9, 0.999)]
    assert [tuple(group["betas"]) for group in discriminator.param_groups] == [(0.5, 0.999)]
    assert "0.5" in convert(folder).checkpoint["impasto"]["recipe"]


def test_the_checkpoint_paints(released, monkeypatch):
    folder, *_ = released
    result = convert(folder)
    result.checkpoint["impasto"]["recipe"] = result.checkpoint["impasto"]["recipe"].replace("pretrained", "random")
    torch.save(result.checkpoint, folder / "converted.ckpt")
    model = load_checkpoint(folder / "converted.ckpt")
    assert model.encoder.source == load_vgg("random", variant="vgg19_normalised").source
    assert model.stylize(torch.rand(1, 3, 33, 40), style=torch.rand(1, 3, 32, 32)).shape == (1, 3, 33, 40)


def test_what_is_missing_strange_or_of_another_shape_is_told(released):
    folder, decoder, transform = released
    del decoder["28.bias"]
    decoder["1.weight"] = torch.zeros(1)
    transform["surprise"] = torch.zeros(1)
    torch.save(decoder, folder / "decoder_iter_160000.pth")
    torch.save(transform, folder / "transformer_iter_160000.pth")
    report = convert(folder).report()
    assert "missing: generator.decoder.stage1.1.convolution.bias" in report
    assert "mis-shaped: generator.decoder.stage4.0.convolution.weight" in report
    assert "unexpected: transform.surprise" in report


def test_a_folder_without_the_files_is_one_sentence(tmp_path):
    with pytest.raises(ImpastoError, match=r"no decoder\*.pth and transform\*.pth"):
        convert(tmp_path)
