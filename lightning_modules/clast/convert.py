"""Mapping the released CLAST checkpoint onto `CLAST(variant="paper")`."""

import re
from pathlib import Path

from lightning_modules.conversion import Conversion, convert_state, read_state

RECIPE = {
    "class_path": "lightning_modules.clast.CLAST",
    "init_args": {
        "weights": "pretrained",
        "variant": "paper",
        "mixer": "mamba1",
        "scan": "unidi",
        "loss": {"lpips": 0.0},
        "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 1.0e-4}},
    },
}

# The frozen VGG and CLIP, and LPIPS, come from their own files.
_FROZEN = re.compile(r"^(vgg_feat|encoder\.slice\d|text_editor|lpips|clip)\b")

# Positions inside the released decoder's nn.Sequential.
_DECODER = {
    "merge_feat12.1": "merge",
    "decoder_layer_1.1": "expand",
    "decoder_layer_0.1": "stage3.0",
    "decoder_layer_0.5": "stage3.1",
    "decoder_layer_0.8": "leave3",
    "decoder_layer_0.13": "stage2.0",
    "decoder_layer_0.16": "stage2.1",
    "decoder_layer_0.21": "stage1",
    "decoder_layer_0.25": "to_rgb",
}

_FUSION = {
    "fs.0": "blocks.{}.modulation",
    "attn": "blocks.{}.mixer.mixer",
    "mlp.fc1": "blocks.{}.mlp.0",
    "mlp.fc2": "blocks.{}.mlp.2",
    "prepare_out": "outputs.{}",
}


def rename(name: str) -> str | None:
    """Return our name of a tensor of the released checkpoint, or None where it belongs to a frozen network.

    Examples:
        >>> rename("transform.sanet1.attn.A_log")
        'fusion.blocks.1.mixer.mixer.A_log'
        >>> rename("decoder.decoder_layer_0.25.bias")
        'decoder.to_rgb.convolution.bias'
    """
    if _FROZEN.match(name):
        return None
    if match := re.fullmatch(r"encoder\.adj_channel_(\d)\.0\.(.+)", name):
        return f"fusion.adapters.{match[1]}.{match[2]}"
    if match := re.fullmatch(r"transform\.sanet(\d)\.(fs\.0|attn|mlp\.fc1|mlp\.fc2|prepare_out)\.(.+)", name):
        return f"fusion.{_FUSION[match[2]].format(match[1])}.{match[3]}"
    if (match := re.fullmatch(r"decoder\.(\w+\.\d+)\.(weight|bias)", name)) and match[1] in _DECODER:
        return f"decoder.{_DECODER[match[1]]}.convolution.{match[2]}"
    return name


def convert(path: Path) -> Conversion:
    """Convert the released checkpoint; its contrastive head ``proj`` is only used in training.

    Raises:
        ImpastoError: If the file is missing or holds no weights.
    """
    return convert_state(read_state(path), RECIPE, rename, optional=("proj.",))
