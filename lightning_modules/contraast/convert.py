"""Mapping the weights of the public ContraAST code onto `ContraAST`: its decoder and its transform, file by file."""

import re
from pathlib import Path

from torch import Tensor

from lightning_modules.conversion import Conversion, convert_state, read_state
from lightning_modules.errors import ImpastoError
from lightning_modules.networks.mirrored_decoder import PUBLIC_PLACES

RECIPE = {
    "class_path": "lightning_modules.contraast.ContraAST",
    "init_args": {
        "weights": "pretrained",
        "variant": "reference",
        "optimizer": {"class_path": "torch.optim.Adam", "init_args": {"lr": 1.0e-4}},
        "discriminator_optimizer": {
            "class_path": "torch.optim.Adam",
            "init_args": {"lr": 1.0e-4, "betas": [0.5, 0.999]},
        },
    },
}

_MAPS = {"f": "query", "g": "key", "h": "value", "out_conv": "out"}
_LEVELS = {"4": "0", "5": "1"}
_PART = re.compile(r"(?P<part>decoder|transform)(er)?(?P<iteration>.*)\.pth")
# The public code never saves its discriminator and its projection heads; only training needs them.
TRAINING_ONLY = ("discriminator.", "style_head.", "content_head.")


def rename(name: str) -> str | None:
    """Return our name of a tensor of the public files, or None where it belongs to the frozen encoder.

    Examples:
        >>> rename("transform.sanet5_1.out_conv.weight")
        'generator.transform.attentions.1.out.weight'
        >>> rename("decoder.28.bias")
        'generator.decoder.stage1.1.convolution.bias'
    """
    if name.startswith(("enc_", "vgg")):
        return None
    if match := re.fullmatch(r"transform\.sanet([45])_1\.(f|g|h|out_conv)\.(weight|bias)", name):
        return f"generator.transform.attentions.{_LEVELS[match[1]]}.{_MAPS[match[2]]}.{match[3]}"
    if match := re.fullmatch(r"transform\.merge_conv\.(weight|bias)", name):
        return f"generator.transform.merge.convolution.{match[1]}"
    if (match := re.fullmatch(r"decoder\.(\d+)\.(weight|bias)", name)) and int(match[1]) in PUBLIC_PLACES:
        return f"generator.decoder.{PUBLIC_PLACES[int(match[1])]}.convolution.{match[2]}"
    return name


def convert(path: Path) -> Conversion:
    """Convert the public weights.

    Args:
        path: The folder with ``decoder_iter_*.pth`` and ``transformer_iter_*.pth``, of which the newest iteration that
            has both is taken; either of these files, whose counterpart of the same iteration is looked for beside it;
            or one file with both under ``decoder.`` and ``transform.``.

    Raises:
        ImpastoError: If nothing lies there, a counterpart is missing, or a file holds no weights.
    """
    return convert_state(_read(path), RECIPE, rename, optional=TRAINING_ONLY)


def _read(path: Path) -> dict[str, Tensor]:
    if not path.exists():
        raise ImpastoError(f"There is no {path}: give the folder of the released files, or one of them.")
    if path.is_file():
        state = read_state(path)
        if any(name.startswith(("decoder.", "transform.")) for name in state):
            return state
    decoder, transform = _newest_pair(path) if path.is_dir() else _pair_of(path)
    return {
        **{f"decoder.{name}": tensor for name, tensor in read_state(decoder).items()},
        **{f"transform.{name}": tensor for name, tensor in read_state(transform).items()},
    }


def _pair_of(path: Path) -> tuple[Path, Path]:
    """Return decoder and transform of the very iteration that ``path`` names."""
    found = _PART.fullmatch(path.name)
    if found is None:
        raise ImpastoError(f"{path} is named neither decoder*.pth nor transform*.pth, and holds not both parts.")
    pairs = _pairs(path.parent)
    if found["iteration"] not in pairs:
        other = "transformer" if found["part"] == "decoder" else "decoder"
        raise ImpastoError(
            f"There is no {other}{found['iteration']}.pth beside {path}: the public code saves decoder and transform "
            "separately, and those of other iterations do not fit."
        )
    return pairs[found["iteration"]]


def _newest_pair(folder: Path) -> tuple[Path, Path]:
    """Return the pair of the folder with the largest number in its names."""
    pairs = _pairs(folder)
    if not pairs:
        raise ImpastoError(
            f"There are no decoder*.pth and transform*.pth of one iteration in {folder}: the public code saves decoder "
            "and transform separately."
        )
    return pairs[
        max(pairs, key=lambda iteration: ([int(number) for number in re.findall(r"\d+", iteration)], iteration))
    ]


def _pairs(folder: Path) -> dict[str, tuple[Path, Path]]:
    """Return decoder and transform of every iteration that has both."""
    parts: dict[str, dict[str, Path]] = {"decoder": {}, "transform": {}}
    for file in sorted(folder.glob("*.pth")):
        if found := _PART.fullmatch(file.name):
            parts[found["part"]][found["iteration"]] = file
    decoders, transforms = parts["decoder"], parts["transform"]
    return {key: (decoders[key], transforms[key]) for key in decoders.keys() & transforms.keys()}
