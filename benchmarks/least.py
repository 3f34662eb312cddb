"""Time an iteration of LEAST, full-size CLIP and VGG with random weights, against the public notebook's order.

OMP_NUM_THREADS=1 python -m benchmarks.least --pairs 3
python -m benchmarks.least --size 64 --patches 2 --pairs 1        # a trial

The literal iteration crops, warps and resizes one patch after the other, lets gradients run into CLIP's weights, and
passes pictures through VGG and CLIP whose features nobody uses, as the notebook does, in networks as torchvision and
open_clip build them. `exact` computes the same losses of the same patches, which are printed side by side; `fast` is
experiments/least/fast.yaml, half the patches, VGG on a crop of half the side and reflections beyond the canvas, in
float32; `half` is the same in the bfloat16 that the file asks for, which some processors multiply faster and some
slower. Each takes part in every round, so that whatever else the machine does hits all alike: a ratio is the median of
the rounds'. The first call of each, whose memory is measured, does not count in time. On a CPU the time is that of all
threads.
"""

import argparse
import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.contenders.least import Literal
from benchmarks.meter import Meter
from benchmarks.results import write_json
from lightning_modules.least.fitting import Fitting, Plan
from lightning_modules.least.jobs import Jobs, Order
from lightning_modules.least.lens import Lens
from lightning_modules.least.networks import StyleUNet
from lightning_modules.least.settings import Canvas, LossWeights, Patches, Structure
from lightning_modules.networks.padding import Padding
from lightning_modules.weights import WeightsSource, load_clip, load_vgg

Losses = dict[str, Tensor]


def official(size: int, patches: int) -> Plan:
    """Return the notebook's plan, on a canvas and with patches of any number."""
    return Plan(
        loss=LossWeights(patch=1e4),
        canvas=Canvas(size, crop=False, keep_aspect=False, mask_resize="bicubic", solid=1.0),
        patches=Patches(
            patches, round(size * 100 / 512), fit_box=False, coverage=0.0, darken_twice=True, composite=False
        ),
        structure=Structure(size=size, masked=False, one_short=True),
        templates=("{}",),
        double_normalise=True,
        contrast=1.5,
    )


def faster(plan: Plan) -> Plan:
    """Return what experiments/least/fast.yaml makes of a plan."""
    patches, structure = plan.patches, plan.structure
    return replace(
        plan,
        canvas=replace(plan.canvas, padding="reflect"),
        patches=replace(patches, count=max(1, patches.count // 2)),
        structure=replace(structure, size=structure.size // 2),
    )


def full_size(size: int, patches: int, model: str, device: torch.device, weights: WeightsSource = "random") -> Fitting:
    """Return the notebook's fit; with the embedded weights, networks are small."""
    clip, vgg = load_clip(weights, model=model).to(device), load_vgg(weights).to(device)
    return Fitting(Lens(clip, vgg, antialias=False), official(size, patches))


def order(size: int, device: torch.device) -> Order:
    """Return one job: noise, of which a rectangle is the region."""
    content = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0)).to(device)
    mask = torch.zeros_like(content[:, :1])
    mask[..., size // 5 : size // 5 * 4, size // 4 : size // 4 * 3] = 1
    return Order(content, mask, ["cubism"])


class Fast:
    """The iteration of a fit, with its optimiser."""

    def __init__(self, fitting: Fitting, network: StyleUNet) -> None:
        self.fitting, self.network = fitting, network
        self.optimizer = torch.optim.Adam(network.parameters(), lr=5e-4)

    def __call__(self, jobs: Jobs, iteration: int) -> Losses:
        """Run it, and return the losses."""
        self.fitting.set_rate(self.optimizer, iteration)
        terms = self.fitting.terms(self.network, jobs, iteration)
        self.optimizer.zero_grad()
        self.fitting.total(terms).sum().backward()
        self.optimizer.step()
        return {name: term[0] for name, term in terms.items()}


def contenders(exact: Fitting, jobs: Jobs, asked: Order) -> dict[str, Callable[[int], Losses]]:
    """Return the literal iteration and ours, on equal weights."""
    literal = Literal(exact, _network(jobs), jobs)
    return {"literal": lambda iteration: literal(exact.draws(jobs, iteration)), **ours(exact, jobs, asked)}


def ours(exact: Fitting, jobs: Jobs, asked: Order) -> dict[str, Callable[[int], Losses]]:
    """Return the exact iteration and the fast preset's in two precisions, on equal weights."""
    fast = Fitting(exact.lens, faster(exact.plan))
    halved = Fitting(exact.lens._replace(half=True), fast.plan)
    fewer = fast.prepare(asked)
    first, second, third = (Fast(each, _network(jobs, each.plan.canvas.padding)) for each in (exact, fast, halved))
    return {
        "exact": lambda iteration: first(jobs, iteration),
        "fast": lambda iteration: second(fewer, iteration),
        "half": lambda iteration: third(fewer, iteration),
    }


def _network(jobs: Jobs, padding: Padding = "zeros") -> StyleUNet:
    made = StyleUNet(1, padding=padding)
    made.start([0])
    return made.to(jobs.seen.device)


def parts(fitting: Fitting, jobs: Jobs, meter: Meter) -> dict[str, tuple[float, float]]:
    """Return the seconds of each network, forward and backward, of what an iteration shows it."""
    lens, plan = fitting.lens, fitting.plan
    network = StyleUNet(1)
    network.start([0])
    sizes = {
        "U-Net": jobs.seen.shape,
        "VGG": (1, 3, plan.structure.size, plan.structure.size),
        "CLIP": (plan.patches.count + 1, 3, lens.clip.image_size, lens.clip.image_size),
    }
    runs: dict[str, Callable[[Tensor], Tensor]] = {
        "U-Net": network.to(jobs.seen.device),
        "VGG": lambda x: torch.stack([part.mean() for part in lens.maps(x, plan.structure.layers).values()]),
        "CLIP": lens.embed,
    }
    spent = {}
    for name, run in runs.items():
        images = torch.rand(sizes[name], device=jobs.seen.device, requires_grad=True)
        out: list[Tensor] = []
        forward = meter.seconds(lambda r=run, i=images, o=out: o.append(r(i).sum()))
        spent[name] = forward, meter.seconds(lambda o=out: o[0].backward())
    return spent


def main() -> None:
    """Measure, print, write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512, help="side of the canvas in pixels, a multiple of 8")
    parser.add_argument("--patches", type=int, default=64)
    parser.add_argument("--clip", default="ViT-B-32", help="an architecture of open_clip")
    parser.add_argument("--pairs", type=int, default=3, help="rounds, after one that does not count")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, help="write the results as JSON too")
    options = parser.parse_args()
    device = torch.device(options.device)
    meter, asked = Meter(device, 0), order(options.size, device)
    exact = full_size(options.size, options.patches, options.clip, device)
    jobs = exact.prepare(asked)
    runs = contenders(exact, jobs, asked)
    losses: dict[str, Losses] = {}
    mib = {name: meter.first(lambda n=name, r=run: losses.update({n: r(0)}))[1] for name, run in runs.items()}
    for term in losses["literal"]:
        print(f"{term:<10}" + "".join(f"   {name} {float(losses[name][term].detach()):12.6g}" for name in runs))
    rows = []
    for number in range(1, options.pairs + 1):
        rows.append({name: meter.seconds(lambda r=run, n=number: r(n)) for name, run in runs.items()})
        print(f"round {number}: " + "   ".join(f"{name} {spent:.3f} s" for name, spent in rows[-1].items()), flush=True)
    ratios = {name: statistics.median(row["literal"] / row[name] for row in rows) for name in runs}
    found = ", ".join(f"{name} {ratios[name]:.2f}x" for name in runs if name != "literal")
    print(f"{options.size} px, {options.patches} patches, {device}: {found}")
    print("memory: " + ", ".join(f"{name} {value:.0f} MiB" for name, value in mib.items()))
    spent = parts(exact, jobs, meter)
    print("of exact: " + ", ".join(f"{name} {there:.2f} + {back:.2f} s" for name, (there, back) in spent.items()))
    if options.out:
        write_json(
            {"parts": spent, "rounds": rows, "ratios": ratios, "mib": mib, "settings": vars(options)}, options.out
        )


if __name__ == "__main__":
    main()
