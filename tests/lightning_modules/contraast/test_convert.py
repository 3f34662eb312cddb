import pytest
import torch

from lightning_modules.checkpoints import load_checkpoint
from lightning_modules.contraast.convert import convert
from lightning_modules.contraast.networks import Decoder, Transform
from lightning_modules.errors import ImpastoError
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


def test_one_file_finds_the_other_and_the_newest_wins(released):
    folder, decoder, _ = released
    older = {name: tensor * 0 for name, tensor in decoder.items()}
    torch.save(older, folder / "decoder_iter_9000.pth")
    state = convert(folder / "transformer_iter_160000.pth").checkpoint["state_dict"]
    assert state["generator.decoder.stage1.1.convolution.bias"].any()


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
    with pytest.raises(ImpastoError, match=r"no decoder\*.pth"):
        convert(tmp_path)
