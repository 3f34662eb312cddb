"""Trains the tiny CLIP: open_clip's own class and tokenizer on pictures and captions of ProceduralArt."""

import gzip
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from experiments.embedded.captions import TONES, make_claims, tones, truth_table
from experiments.embedded.gallery import Gallery, batches, random_crops
from lightning_modules.classifiers.augmentation import degrade, jitter_colours
from lightning_modules.files import write_atomically
from lightning_modules.networks.clip import OPENAI_MEAN, OPENAI_STD, CLIPEncoder
from lightning_modules.networks.export import export, half_precision

MERGES = 2048
MERGES_FILE = "clip_merges.txt.gz"
SIZE = 96
MODEL = {
    "embed_dim": 128,
    "vision_cfg": {"layers": [1, 1, 1, 1], "width": 24, "image_size": SIZE, "head_width": 64},
    "text_cfg": {
        "context_length": 32,
        "vocab_size": 2 * 256 + MERGES + 2,
        "width": 96,
        "heads": 4,
        "layers": 2,
    },
}


def train(train_set: Gallery, held_out: Gallery, folder: Path, *, seed: int, steps: int = 900) -> dict[str, float]:
    """Train the CLIP, write it to ``folder`` and return the figures measured on held-out contents.

    The loss is CLIP's with several right answers: a caption such as "a painting by X" is true of every X in the
    batch, and claims are compared with pictures by what they assert.
    """
    import open_clip

    start = time.perf_counter()
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    _write_merges(folder / MERGES_FILE)
    tokenizer = open_clip.SimpleTokenizer(bpe_path=str(folder / MERGES_FILE), context_length=32)
    model = open_clip.CLIP(**MODEL).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.5e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.5e-3, total_steps=steps, pct_start=0.1)
    photographs = train_set.photographs()
    painted = batches(train_set.paintings(), 36, steps, generator)
    plain = batches(photographs, 12, steps, generator)
    for step, batch in enumerate(torch.cat(pair) for pair in zip(painted, plain, strict=True)):
        images, captions, truth = _sample(train_set, batch, generator)
        loss = _loss(model, images, tokenizer(captions), truth)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=4.0)  # e^4 = 55: sharper logits only memorise the training captions
        if step % 100 == 0:
            print(f"clip {step:5d}/{steps} loss {loss.item():.3f} {time.perf_counter() - start:5.0f} s", flush=True)
    half_precision(model)
    seconds = time.perf_counter() - start
    figures = measure(CLIPEncoder(model, tokenizer, "embedded"), held_out)
    figures |= {"seconds": round(seconds, 1), "seed": seed, "steps": steps}
    export(model, {"model_cfg": MODEL, "merges": MERGES_FILE, "measured": figures}, folder / "clip.safetensors")
    return figures


def _sample(gallery: Gallery, batch: Tensor, generator: torch.Generator) -> tuple[Tensor, list[str], Tensor]:
    crops = random_crops(gallery.images[batch], (64, 256), SIZE, generator)
    crops = jitter_colours(crops, 0.4, generator)
    tone = tones(crops)
    claims = make_claims(gallery, batch, tone, generator)
    truth = truth_table(claims, gallery, batch, tone)
    return degrade(crops, generator), [claim.text for claim in claims], truth


def _loss(model: Any, images: Tensor, tokens: Tensor, truth: Tensor) -> Tensor:
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (OPENAI_MEAN, OPENAI_STD))
    normalised = ((images - mean) / std).contiguous(memory_format=torch.channels_last)  # 1.5 times faster on a CPU
    pictures = model.encode_image(normalised, normalize=True)
    logits = model.logit_scale.exp() * pictures @ model.encode_text(tokens, normalize=True).T
    target = truth.to(logits)
    to_text = F.cross_entropy(logits, target / target.sum(1, keepdim=True))
    to_image = F.cross_entropy(logits.T, target.T / target.T.sum(1, keepdim=True))
    return (to_text + to_image) / 2


def _write_merges(path: Path) -> None:
    """Keep the first merges of CLIP's byte pair encoding: common words stay whole, and the token table is small."""
    from open_clip.tokenizer import default_bpe

    with gzip.open(default_bpe(), "rt", encoding="utf-8") as file:
        lines = file.read().split("\n")[: 1 + MERGES]  # the first line is a header
    write_atomically(path, gzip.compress("\n".join(lines).encode(), mtime=0))


@torch.no_grad()
def measure(encoder: CLIPEncoder, held_out: Gallery) -> dict[str, float]:
    """Return how often text and picture find each other on held-out contents.

    - ``retrieval_artist``: of the paintings, how many lie nearest to "a painting by" their own artist.
    - ``retrieval_text``: of the artists, the share of their own among the N paintings nearest to the prompt, where N
      is how many they painted.
    - ``retrieval_subject``: of the photographs, how many lie nearest to their own subject among all subjects.
    - ``photo``: of the photographs, how many lie nearer to "a photo" than to every artist.
    - ``tone``: of twelve colour words' six pairs of opposites, how often the right end wins where one holds.
    """
    images = held_out.images.float() / 255
    pictures = F.normalize(torch.cat([encoder.encode_image(batch) for batch in images.split(32)]), dim=1)

    def read(texts: list[str]) -> Tensor:
        return F.normalize(encoder.encode_text(texts), dim=1)

    prompts = read([f"a painting by {name}" for name in held_out.artists])
    painted, plain = held_out.paintings(), held_out.photographs()
    scores = pictures[painted] @ prompts.T  # paintings, artists
    truth = held_out.artist[painted]
    count = len(painted) // len(prompts)
    top = scores.topk(count, dim=0).indices  # count, artists
    found = (truth[top] == torch.arange(len(prompts))).float().mean()
    crops = random_crops(held_out.images[painted], (96, 96), 96, torch.Generator().manual_seed(0))
    patches = F.normalize(torch.cat([encoder.encode_image(batch) for batch in crops.split(32)]), dim=1)
    shown = [held_out.captions[index] for index in plain.tolist()]
    names = sorted(set(shown))
    subject = (pictures[plain] @ read(names).T).argmax(1)
    photo = torch.cat((prompts, read(["a photo"])))
    return {
        "retrieval_artist": _share(scores.argmax(1) == truth),
        "retrieval_artist_crops_96": _share((patches @ prompts.T).argmax(1) == truth),
        "retrieval_text": round(float(found), 4),
        "retrieval_subject": _share(subject == torch.tensor([names.index(caption) for caption in shown])),
        "photo": _share((pictures[plain] @ photo.T).argmax(1) == len(prompts)),
        "tone": _tone_accuracy(pictures, tones(images), read([TONES[name][0] for name in TONES])),
    }


def _tone_accuracy(pictures: Tensor, tone: Tensor, prompts: Tensor) -> float:
    right = []
    for one, other in ((0, 1), (2, 3), (4, 5)):
        decided = tone[:, one] != tone[:, other]
        wins = (pictures[decided] @ (prompts[one] - prompts[other])) > 0
        right.append(wins == tone[decided, one])
    return _share(torch.cat(right))


def _share(hits: Tensor) -> float:
    return round(float(hits.float().mean()), 4)
