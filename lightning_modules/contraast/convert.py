"""Mapping the weights of the public ContraAST code onto `ContraAST`: its decoder and its transform, file by file."""

import re
from pathlib import Path

from torch import Tensor

from lightning_modules.conversion import Conversion, convert_state, read_state
from lightning_modules.errors import ImpastoError

RECIPE = {
    "class_path": "lightning_modules.contraast.ContraAST",
    "init_args": {
        "weights": "pretrained",
        "variant": "reference",
        "optimizer": {"class_path": "torch.optim.Adam", "init_args": {"lr": 1.0e-4}},
        "discriminator_optimizer": {"class_path": "torch.optim.Adam", "init_args": {"lr": 1.0e-4}},
    },
}

# Positions of the convolutions inside the public decoder's nn.Sequential, in order.
_DECODER = dict(
    zip(
        (1, 5, 8, 11, 14, 18, 21, 25, 28),
        (
            "stage4.0",
            *(f"stage3.{n}" for n in range(4)),
            *(f"stage2.{n}" for n in range(2)),
            *(f"stage1.{n}" for n in range(2)),
        ),
        strict=True,
    )
)
_MAPS = {"f": "query", "g": "key", "h": "value", "out_conv": "out"}
_LEVELS = {"4": "0", "5": "1"}
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
    if (match := re.fullmatch(r"decoder\.(\d+)\.(weight|bias)", name)) and int(match[1]) in _DECODER:
        return f"generator.decoder.{_DECODER[int(match[1])]}.convolution.{match[2]}"
    return name


def convert(path: Path) -> Conversion:
    """Convert the public weights.

    Args:
        path: The folder with ``decoder_iter_*.pth`` and ``transformer_iter_*.pth``, either of these files (the other
            one is looked for beside it), or one file with both under ``decoder.`` and ``transform.``.

    Raises:
        ImpastoError: If a file is missing or holds no weights.
    """
    return convert_state(_read(path), RECIPE, rename, optional=TRAINING_ONLY)


def _read(path: Path) -> dict[str, Tensor]:
    if path.is_file():
        state = read_state(path)
        if any(name.startswith(("decoder.", "transform.")) for name in state):
            return state
    folder = path if path.is_dir() else path.parent
    decoder, transform = (_newest(folder, pattern, path) for pattern in ("decoder*.pth", "transform*.pth"))
    return {
        **{f"decoder.{name}": tensor for name, tensor in read_state(decoder).items()},
        **{f"transform.{name}": tensor for name, tensor in read_state(transform).items()},
    }


def _newest(folder: Path, pattern: str, path: Path) -> Path:
    """Return ``path`` if it fits the pattern, else the file of the folder with the largest number in its name."""
    if path.is_file() and path.match(pattern):
        return path
    found = sorted(folder.glob(pattern), key=lambda file: [int(number) for number in re.findall(r"\d+", file.stem)])
    if not found:
        raise ImpastoError(
            f"There is no {pattern} in {folder}: the public code saves decoder and transform separately."
        )
    return found[-1]
