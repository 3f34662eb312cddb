"""Mapping the weights of the public PAMA code onto `NeAT`'s blocks and decoder, as a start for its training.

PAMA has three blocks and NeAT four, of the same shape. The first three go to the first three places, in their order;
the fourth starts as a copy of the third, which of the three is the one that was trained on features already aligned
twice.
"""

import re
from pathlib import Path

from torch import Tensor

from lightning_modules.checkpoints import class_of
from lightning_modules.conversion import Conversion, convert_state, read_state
from lightning_modules.errors import ImpastoError
from lightning_modules.networks.mirrored_decoder import PUBLIC_PLACES

RECIPE = {
    "class_path": "lightning_modules.neat.NeAT",
    "init_args": {
        "weights": "pretrained",
        "optimizer": {"class_path": "torch.optim.Adam", "init_args": {"lr": 1.0e-4}},
        "discriminator_optimizer": {
            "class_path": "torch.optim.Adam",
            "init_args": {"lr": 1.0e-4, "betas": [0.5, 0.999]},
        },
        "patch_optimizer": {
            "class_path": "torch.optim.Adam",
            "init_args": {"lr": 1.8823529e-3, "betas": [0.0, 0.9905853]},
        },
    },
}

FILES = {"blocks.0": "PAMA1.pth", "blocks.1": "PAMA2.pth", "blocks.2": "PAMA3.pth", "decoder": "decoder.pth"}
"""What the public code saves, by the part of ours that it fills."""
FOURTH = "blocks.3"
_LAYERS = {
    "conv_in": "conv_in.convolution",
    "attn.f": "query",
    "attn.g": "key",
    "attn.h": "value",
    "attn.out_conv": "out",
    "conv_out": "conv_out.convolution",
    "fuse.proj1": "fusion.joint",
    "fuse.proj2": "fusion.content",
    "fuse.proj3": "fusion.style",
    "fuse.fuse1x": "fusion.windows.0",
    "fuse.fuse3x": "fusion.windows.1",
    "fuse.fuse5x": "fusion.windows.2",
}


def rename(name: str) -> str:
    """Return our name of a tensor of the public files, under the part of ours that its file fills.

    Examples:
        >>> rename("blocks.2.attn.out_conv.weight")
        'generator.transform.blocks.2.out.weight'
        >>> rename("decoder.28.bias")
        'generator.decoder.stage1.1.convolution.bias'
    """
    if (match := re.fullmatch(r"(blocks\.\d)\.(.+)\.(weight|bias)", name)) and match[2] in _LAYERS:
        return f"generator.transform.{match[1]}.{_LAYERS[match[2]]}.{match[3]}"
    if (match := re.fullmatch(r"decoder\.(\d+)\.(weight|bias)", name)) and int(match[1]) in PUBLIC_PLACES:
        return f"generator.decoder.{PUBLIC_PLACES[int(match[1])]}.convolution.{match[2]}"
    return name


def convert(path: Path) -> Conversion:
    """Convert the public weights; what only training needs keeps its fresh values.

    Args:
        path: The folder with PAMA1.pth, PAMA2.pth, PAMA3.pth and decoder.pth. Its encoder.pth is the frozen VGG, which
            comes from its own file.

    Raises:
        ImpastoError: If one of the files is missing or holds no weights.
    """
    training_only = tuple(f"{part}." for part in class_of(RECIPE).loss_parts)
    conversion = convert_state(read(path), RECIPE, rename, optional=training_only)
    conversion.notes.append("the fourth block starts as a copy of the third: PAMA has three")
    return conversion


def read(path: Path) -> dict[str, Tensor]:
    """Return the tensors of the public files under the parts of ours that they fill.

    Raises:
        ImpastoError: As of `convert`.
    """
    missing = [file for file in FILES.values() if not (path / file).is_file()]
    if missing:
        raise ImpastoError(
            f"{path} is not the public PAMA code's folder of checkpoints, which holds {', '.join(FILES.values())}: "
            f"there is no {', '.join(missing)}."
        )
    parts = {part: read_state(path / file) for part, file in FILES.items()}
    parts[FOURTH] = parts["blocks.2"]
    return {f"{part}.{name}": tensor for part, state in parts.items() for name, tensor in state.items()}
