"""`impasto prepare nsync`: captions where they are missing, negatives, and a page to look at."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from datamodules.captions import Captioned, list_captioned, require_captions
from datamodules.images import ImageReadError, read_pixels
from datamodules.learned_styles import Wish, negative_folder
from experiments.negatives.maker import Negatives
from experiments.negatives.sheet import write_sheet
from lightning_modules.errors import ImpastoError

NO_CAPTION = "write one into a .txt file beside it or into metadata.jsonl, or let --captioner MODEL_ID write them"


def prepare(args: Namespace) -> Path:
    """Do what the command line says and return the folder of negatives, or of pictures with --captions-only.

    Raises:
        ImpastoError: If a picture cannot be read or has no caption, there is only one, or what is there is not ours.
    """
    out = args.out or negative_folder(args.images)
    pictures = list_captioned(args.images)
    _check(pictures, args.images, out)
    maker = None if args.captions_only else _maker(args)  # wrong settings end it before anything is written
    if args.captioner is not None and not all(picture.caption for picture in pictures):
        from experiments.negatives.captioner import Captioner, caption_missing

        caption_missing(pictures, Captioner(args.captioner, args.device).describe)
        pictures = list_captioned(args.images)
    require_captions(pictures, NO_CAPTION)
    if maker is None:
        return Path(args.images)
    maker.make([Wish(picture.key, picture.caption) for picture in pictures], out)
    sheet = out.with_name(f"{out.name}.png")
    write_sheet(sheet, pictures, out)
    print(sheet)
    return Path(out)


def _maker(args: Namespace) -> Negatives:
    return Negatives(
        args.weights,
        model=args.model,
        prompts=args.negative_prompts or [args.category],
        size=args.size,
        match_resolution=args.match_resolution,
        steps=args.steps,
        guidance=args.guidance,
        sampler=args.sampler,
        seed=args.seed,
        batch=args.batch,
        devices=args.devices,
        device=args.device,
    )


def _check(pictures: list[Captioned], images: Path, out: Path) -> None:
    if out.resolve() == images.resolve() or out.resolve().is_relative_to(images.resolve()):
        raise ImpastoError(f"The negatives in {out} would be taken for pictures of {images}: choose another place.")
    if len(pictures) == 1:
        raise ImpastoError(
            f"{images} holds one picture only, and NSYNC compares each with another one of its style: add pictures."
        )
    unreadable = []
    for picture in pictures:
        try:
            read_pixels(picture.path)
        except ImageReadError as error:
            unreadable.append(str(error))
    if unreadable:
        raise ImpastoError(f"{len(unreadable)} of {len(pictures)} pictures cannot be read; the first: {unreadable[0]}")
