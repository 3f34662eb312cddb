"""Time one training step of a method, full-size networks, against a literal transcription of its authors' data flow.

python -m benchmarks.train_step --method contraast --batch 4 --pairs 3

Both steps use the same modules, weights and pictures, and differ in what they compute how often; forward, both
optimiser steps and the losses are in the time. Pairs of a literal and a fast step alternate, so that whatever else
the machine does hits both alike: the ratio is the median of the pairs' ratios. On a CPU the time is that of all
threads. The losses of the two are printed too: they are the same.
"""

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.meter import Meter
from benchmarks.results import write_json
from lightning_modules.contraast import ContraAST
from lightning_modules.contraast.losses import least_squares, shared_attribute_loss
from lightning_modules.contraast.module import LAYERS
from lightning_modules.contraast.networks import DEEP, StyleAttention
from lightning_modules.losses.content import content_loss
from lightning_modules.losses.statistics import normalize_channels
from lightning_modules.losses.style import style_loss
from lightning_modules.types import StyleBatch

Losses = dict[str, float]


class Step:
    """One iteration: pictures, the discriminator's step, the generator's step."""

    def __init__(self, model: ContraAST) -> None:
        self.model = model
        trained = [model.generator, model.style_head, model.content_head]
        self.optimizer = torch.optim.Adam([p for module in trained for p in module.parameters()], lr=1e-4)
        assert model.discriminator is not None  # noqa: S101
        self.discriminator = model.discriminator
        self.discriminator_optimizer = torch.optim.Adam(self.discriminator.parameters(), lr=1e-4, betas=(0.5, 0.999))

    def _total(self, terms: dict[str, Tensor]) -> Tensor:
        return torch.stack([getattr(self.model.loss, name) * term for name, term in terms.items()]).sum()


class Fast(Step):
    """The step of `ContraAST`, without Lightning around it."""

    def __call__(self, batch: StyleBatch) -> Losses:
        """Run it, and return the losses."""
        painted = self.model.paint_batch(batch)
        loss, _ = self.model.discriminator_loss(batch.style, painted.stylized.detach())
        self.discriminator_optimizer.zero_grad()
        loss.backward()
        self.discriminator_optimizer.step()
        self.discriminator.requires_grad_(False)
        terms = self.model.generator_terms(batch, painted)
        self.optimizer.zero_grad()
        self._total(terms).backward()
        self.optimizer.step()
        self.discriminator.requires_grad_(True)
        return {name: float(term.detach()) for name, term in {"discriminator": loss, **terms}.items()}


class Literal(Step):
    """The public code's order of things: everything on the batch that holds each input twice."""

    def __call__(self, batch: StyleBatch) -> Losses:
        """Run it, and return the losses."""
        encoder = self.model.encoder
        numbers, twice = self.model.arrange(len(batch.content))
        content, style = batch.content[numbers], batch.style[twice]
        style_maps, content_maps = encoder(style, LAYERS), encoder(content, LAYERS)
        stylized = self.paint(content_maps, style_maps)

        loss = least_squares(self.discriminator(style), True)
        loss = loss + least_squares(self.discriminator(stylized.detach()), False)
        self.discriminator_optimizer.zero_grad()
        loss.backward()
        self.discriminator_optimizer.step()

        maps = encoder(stylized, LAYERS)
        terms = {"style": style_loss(maps, style_maps), "content": 2 * content_loss(maps, content_maps, DEEP)}
        terms["identity_image"] = terms["identity_feature"] = stylized.new_zeros(())
        for images, known in ((content, content_maps), (style, style_maps)):
            again = self.paint(known, known)
            found = encoder(again, LAYERS)
            terms["identity_image"] = terms["identity_image"] + F.mse_loss(again, images)
            layers = torch.stack([F.mse_loss(found[name], known[name]) for name in LAYERS])
            terms["identity_feature"] = terms["identity_feature"] + layers.sum()
        z_style, z_content = self.model.style_head(maps["relu3_1"]), self.model.content_head(maps["relu4_1"])
        terms["style_contrast"] = shared_attribute_loss(z_style, twice, numbers)
        terms["content_contrast"] = shared_attribute_loss(z_content, numbers, twice)
        terms["adversarial"] = least_squares(self.discriminator(stylized), True)
        self.optimizer.zero_grad()
        self._total(terms).backward()
        self.optimizer.step()
        return {name: float(term.detach()) for name, term in {"discriminator": loss, **terms}.items()}

    def paint(self, content: dict[str, Tensor], style: dict[str, Tensor]) -> Tensor:
        """Transform and decode, with attention as two products and a softmax between."""
        transform = self.model.generator.transform
        upper, lower = (
            self.attend(attention, content[name], style[name])  # type: ignore[arg-type]
            for attention, name in zip(transform.attentions, DEEP, strict=True)
        )
        picture: Tensor = self.model.generator.decoder(transform.merge(upper + F.interpolate(lower, upper.shape[-2:])))
        return picture

    @staticmethod
    def attend(attention: StyleAttention, content: Tensor, style: Tensor) -> Tensor:
        """Write the matrix of all pairs of positions out."""
        query = attention.query(normalize_channels(content)).flatten(2).transpose(1, 2)
        key = attention.key(normalize_channels(style)).flatten(2)
        value = attention.value(style).flatten(2)
        weights = torch.bmm(query, key).softmax(-1)
        gathered = torch.bmm(value, weights.transpose(1, 2)).view_as(content)
        restyled: Tensor = attention.out(gathered) + content
        return restyled


def contraast(device: torch.device) -> tuple[Callable[[StyleBatch], Losses], Callable[[StyleBatch], Losses]]:
    """Return the literal and the fast step of ContraAST, on equal weights."""
    steps: list[Callable[[StyleBatch], Losses]] = []
    for step in (Literal, Fast):
        torch.manual_seed(0)
        adam = torch.optim.Adam
        steps.append(step(ContraAST(adam, adam, weights="random").to(device)))
    return steps[0], steps[1]


METHODS = {"contraast": contraast}


def main() -> None:
    """Measure, print, write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", choices=METHODS, default="contraast")
    parser.add_argument("--batch", type=int, default=4, help="stylised pictures, b")
    parser.add_argument("--size", type=int, default=256, help="side of the pictures in pixels")
    parser.add_argument("--pairs", type=int, default=3, help="pairs of steps, after one that does not count")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the results as JSON too")
    options = parser.parse_args()
    device, half = torch.device(options.device), options.batch // 2
    generator = torch.Generator().manual_seed(options.seed)
    content, style = (torch.rand(half, 3, options.size, options.size, generator=generator) for _ in range(2))
    numbers = torch.arange(half)
    batch = StyleBatch(content.to(device), style.to(device), numbers, [""] * half, numbers)
    meter = Meter(device, 0)
    steps = dict(zip(("literal", "fast"), METHODS[options.method](device), strict=True))

    losses: dict[str, Losses] = {}
    rows = []
    for number in range(options.pairs + 1):
        row = {}
        for name, step in steps.items():
            row[name] = meter.first(lambda step=step, name=name: losses.update({name: step(batch)}))  # type: ignore[misc]
        if number == 0:
            for term, value in losses["literal"].items():
                print(f"{term:<20} literal {value:12.6g}   fast {losses['fast'][term]:12.6g}", flush=True)
            continue
        rows.append(row)
        (slow, _), (quick, _) = row["literal"], row["fast"]
        print(f"pair {number}: literal {slow:8.2f} s   fast {quick:8.2f} s   {slow / quick:.2f}x", flush=True)
    ratio = statistics.median(row["literal"][0] / row["fast"][0] for row in rows)
    memory = {name: statistics.median(row[name][1] for row in rows) for name in steps}
    print(f"{options.method}, b {options.batch}, {options.size} px, {device}: {ratio:.2f}x")
    print(f"memory: literal {memory['literal']:.0f} MiB, fast {memory['fast']:.0f} MiB")
    if options.out:
        result = {"pairs": rows, "ratio": ratio, "mib": memory, "settings": vars(options)}
        write_json(result, options.out)


if __name__ == "__main__":
    main()
