"""Draw a negative for every picture of a style, by its caption."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `impasto prepare nsync`."""
    parser.add_argument("--images", type=Path, required=True, help="folder of pictures of one style")
    words = parser.add_mutually_exclusive_group()
    words.add_argument(
        "--category", default="painting", metavar="WORD",
        help="what the pictures are: painting, illustration, animation, or another word (default: painting)",
    )  # fmt: skip
    words.add_argument(
        "--negative-prompts", nargs="+", metavar="WORDS",
        help="several such words instead, of which every negative draws one",
    )  # fmt: skip
    parser.add_argument(
        "--captioner", metavar="MODEL",
        help="describe pictures without a caption: an image-to-text model of transformers, by its id or folder",
    )  # fmt: skip
    parser.add_argument("--captions-only", action="store_true", help="draw nothing: for held-out pictures")
    parser.add_argument("--out", type=Path, help="folder of the negatives (default: IMAGES-negatives)")
    parser.add_argument(
        "--weights", choices=("auto", "pretrained", "embedded", "random"), default="auto",
        help="of the frozen pipeline (default: auto)",
    )  # fmt: skip
    parser.add_argument(
        "--model", default="stable-diffusion-v1-5/stable-diffusion-v1-5", metavar="ID",
        help="the frozen pipeline, that will be trained: an id or a folder (default: Stable Diffusion 1.5)",
    )  # fmt: skip
    parser.add_argument("--size", type=int, metavar="N", help="side in pixels to draw at (default: the pipeline's own)")
    parser.add_argument(
        "--match-resolution", type=int, default=256, metavar="N",
        help="side in pixels that the pictures have, and to which larger negatives are shrunk (default: 256)",
    )  # fmt: skip
    parser.add_argument("--steps", type=int, default=50, help="of the sampler (default: 50)")
    parser.add_argument("--guidance", type=float, default=7.5, help="towards the prompt (default: 7.5)")
    parser.add_argument("--sampler", choices=("pndm", "ddim"), default="pndm", help="default: pndm")
    parser.add_argument("--seed", type=int, default=0, help="seed of every picture (default: 0)")
    parser.add_argument("--batch", type=int, default=8, metavar="N", help="pictures drawn at once (default: 8)")
    parser.add_argument("--devices", type=int, metavar="N", help="processes, one a GPU (default: all GPUs)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")


def main(args: argparse.Namespace) -> Path:
    """Draw the negatives and return their folder, or that of the pictures with --captions-only.

    Raises:
        ImpastoError: If a picture cannot be read or has no caption, there is only one, or what is there is not ours.
    """
    from experiments.negatives.preparing import prepare

    return prepare(args)
