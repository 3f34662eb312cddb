"""Time the scans of ``lightning_modules.networks.selective_scan`` against a plain loop and mambapy's parallel scan.

python -m benchmarks.selective_scan --lengths 1024 4096 --out scans.json

The time is CPU time over all threads, which a busy machine disturbs less than the clock on the wall; the best of the
repeats counts. The scan over matrix products (ssd) computes another recurrence, with one decay per head of 64 channels.
"""

import argparse
import platform
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.results import write_json
from lightning_modules.networks.selective_scan import selective_scan, ssd_scan

HEAD_DIM = 64
Scan = Callable[..., Tensor]


def loop(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """Scan one step after the other, as mamba-ssm's reference does, without its quadratic backward pass."""
    decays = torch.exp(delta.unsqueeze(-1) * A[:, None]).unbind(2)
    drives = ((delta * u).unsqueeze(-1) * B.transpose(1, 2).unsqueeze(1)).unbind(2)
    state, outputs = torch.zeros_like(drives[0]), []
    for decay, drive, weight in zip(decays, drives, C.unbind(-1), strict=True):
        state = decay * state + drive
        outputs.append((state @ weight.unsqueeze(-1)).squeeze(-1))
    return torch.stack(outputs, -1)


def find_pscan() -> Scan | None:
    """Return a scan by mambapy's pscan, or None if the package is absent."""
    try:
        pscan = import_module("mambapy.pscan").pscan
    except ImportError:
        return None

    def scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
        decay = torch.exp(delta.transpose(1, 2).unsqueeze(-1) * A)  # b, L, D, N
        drive = (delta * u).transpose(1, 2).unsqueeze(-1) * B.transpose(1, 2).unsqueeze(2)
        output: Tensor = (pscan(decay, drive) @ C.transpose(1, 2).unsqueeze(-1)).squeeze(-1)
        return output.transpose(1, 2)

    return scan


def make_inputs(batch: int, length: int, dim: int, state: int) -> tuple[list[Tensor], list[Tensor]]:
    """Draw the inputs of ``selective_scan`` and of ``ssd_scan``."""
    head_dim = HEAD_DIM if dim % HEAD_DIM == 0 else dim
    heads = dim // head_dim
    channels = [torch.randn(batch, dim, length), torch.rand(batch, dim, length) * 0.1]
    maps = [torch.randn(batch, state, length) for _ in range(2)]
    mamba = [*channels, -torch.arange(1.0, state + 1).repeat(dim, 1), *maps]
    ssd = [
        torch.randn(batch, length, heads, head_dim),
        torch.rand(batch, length, heads) * 0.1,
        -torch.linspace(1, 16, heads),
        *(torch.randn(batch, length, 1, state) for _ in range(2)),
    ]
    return [tensor.requires_grad_() for tensor in mamba], [tensor.requires_grad_() for tensor in ssd]


def milliseconds(function: Callable[[], object], repeats: int) -> float:
    """Return the least CPU time of ``function``, after one call to warm up."""
    function()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return 1000 * min(times)


def measure(scan: Scan, inputs: list[Tensor], repeats: int) -> dict[str, float]:
    """Time the forward pass without gradients, and the forward and backward pass together."""
    with torch.no_grad():
        weight = torch.randn_like(scan(*inputs))
        forward = milliseconds(lambda: scan(*inputs), repeats)
    both = milliseconds(lambda: torch.autograd.grad(scan(*inputs), inputs, weight), repeats)
    return {"forward_ms": forward, "forward_backward_ms": both}


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", type=int, nargs="+", default=[256, 1024, 4096], help="tokens in a sequence")
    parser.add_argument("--batch", type=int, default=1, help="sequences")
    parser.add_argument("--dim", type=int, default=512, help="inner channels")
    parser.add_argument("--state", type=int, default=16, help="states per channel")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, help="write the results as JSON too")
    return parser.parse_args()


def main() -> None:
    """Measure, print a table, write the JSON file."""
    options = parse()
    torch.manual_seed(options.seed)
    scans: dict[str, Scan] = {"loop": loop, "slab": selective_scan, "ssd": ssd_scan}
    pscan = find_pscan()
    if pscan is None:
        print("mambapy is not installed and is left out: pip install 'impasto[bench]'")
    else:
        scans["mambapy pscan"] = pscan
    rows: list[dict[str, Any]] = []
    print(f"{'L':>6}  {'scan':<14} {'forward':>12} {'':>7} {'fwd + bwd':>12} {'':>7}   CPU ms (times the loop's speed)")
    for length in options.lengths:
        mamba, ssd = make_inputs(options.batch, length, options.dim, options.state)
        base: dict[str, float] = {}
        for name, scan in scans.items():
            times = measure(scan, ssd if name == "ssd" else mamba, options.repeats)
            base = base or times
            speedup = {key.replace("_ms", "_speedup"): base[key] / value for key, value in times.items()}
            rows.append({"length": length, "scan": name, **times, **speedup})
            cells = [f"{times[key]:12.1f} {speedup[key.replace('_ms', '_speedup')]:6.1f}x" for key in times]
            print(f"{length:>6}  {name:<14} {' '.join(cells)}", flush=True)
    if options.out:
        settings = {key: value for key, value in vars(options).items() if key != "out"}
        machine = {"torch": torch.__version__, "threads": torch.get_num_threads(), "processor": platform.processor()}
        write_json({"settings": settings, "machine": machine, "results": rows}, options.out)


if __name__ == "__main__":
    main()
