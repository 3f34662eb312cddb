import json
import multiprocessing
import signal
import sys
import time
from collections import Counter
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.learned_styles import Wish
from experiments.negatives import Negatives, drawer
from experiments.negatives.recipe import Recipe, drawing
from lightning_modules.errors import ImpastoError
from lightning_modules.weights.diffusion import load_diffusion, pipeline_of

WISHES = [Wish(f"deep/{name}" if name == "c" else name, f"{word} at night") for name, word in
          zip("abcde", ("a city", "the sea", "a field", "a forest", "clouds"), strict=True)]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def load_once():
    """Build the random pipeline once for all tests, which nothing changes, and let one thread draw."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("experiments.negatives.maker.load_diffusion", cache(load_diffusion))
        yield
    torch.set_num_threads(threads)


def negatives(**options):
    return Negatives("random", **{"size": 16, "steps": 2, "batch": 2, "guidance": 3.0} | options)


def made(folder, wishes=WISHES, **options):
    negatives(**options).make(wishes, folder)
    return contents(folder)


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.png"))}


def pixels(folder, key):
    with Image.open(folder / f"{key}.png") as image:
        return np.array(image).astype(int)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("negatives") / "whole"
    made(folder)
    return folder


def test_every_wish_is_drawn_once_under_its_own_name(whole):
    assert list(contents(whole)) == ["a.png", "b.png", "d.png", "deep/c.png", "e.png"]
    assert not [path for path in whole.rglob("*") if path.name.startswith(".")]
    assert len({pixels(whole, wish.key).tobytes() for wish in WISHES}) == 5
    with Image.open(whole / "a.png") as image:
        assert image.info["prompt"] == "a city at night in the style of painting"
        assert image.size == (16, 16)
    kept = json.loads((whole / "negatives.json").read_text())
    assert (kept["pipeline"], kept["prompts"], kept["steps"], kept["guidance"]) == ("random", ["painting"], 2, 3.0)


def test_a_picture_is_what_diffusers_draws_with_its_own_seed(whole):
    stock = pipeline_of(load_diffusion("random"), "pndm")
    with Image.open(whole / "b.png") as image:
        seed = int(image.info["seed"])
    drawn = stock(
        "the sea at night in the style of painting",
        height=16, width=16, num_inference_steps=2, guidance_scale=3.0, output_type="pil",
        generator=torch.Generator().manual_seed(seed),
    ).images[0]  # fmt: skip
    assert np.abs(np.array(drawn).astype(int) - pixels(whole, "b")).max() <= 1


def test_neither_batch_nor_company_changes_a_picture(whole, tmp_path):
    made(tmp_path / "one", batch=1)
    made(tmp_path / "few", WISHES[3:])
    for folder, wishes in ((tmp_path / "one", WISHES), (tmp_path / "few", WISHES[3:])):
        for wish in wishes:
            assert np.abs(pixels(folder, wish.key) - pixels(whole, wish.key)).max() <= 1
    assert made(tmp_path / "again") == contents(whole)


def test_what_is_missing_is_drawn_and_nothing_else(whole, tmp_path):
    made(tmp_path)
    (tmp_path / "b.png").unlink()
    (tmp_path / "deep/c.png").write_bytes(b"half a picture")
    (tmp_path / ".half.png").write_bytes(b"a temporary file")
    before = {name: (tmp_path / name).stat().st_mtime_ns for name in ("a.png", "d.png", "e.png")}
    made(tmp_path)
    (tmp_path / ".half.png").unlink()
    assert contents(tmp_path) == contents(whole)
    assert before == {name: (tmp_path / name).stat().st_mtime_ns for name in before}


def test_a_finished_set_draws_nothing(whole, monkeypatch):
    monkeypatch.setattr("experiments.negatives.maker.Drawer", None)
    assert made(whole) == contents(whole)


def test_a_caption_that_has_changed_is_drawn_again(whole, tmp_path):
    made(tmp_path)
    made(tmp_path, [Wish("a", "a city by day"), *WISHES[1:]])
    changed = [name for name, data in contents(tmp_path).items() if data != contents(whole)[name]]
    assert changed == ["a.png"]


def stop_in_the_fourth(folder):
    """Draw, and wait for ever in the middle of the fourth file."""
    torch.set_num_threads(1)  # a forked process has none of the others
    written, write = [], drawer.write_atomically

    def write_three(path, data):
        if len(written) == 3:
            path.with_name(".half.png").write_bytes(data[:40])
            time.sleep(600)
        write(path, data)
        written.append(path)

    drawer.write_atomically = write_three
    made(folder)


@pytest.mark.bitwise
@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_a_process_killed_while_it_writes_is_continued(whole, tmp_path):
    process = multiprocessing.get_context("fork").Process(target=stop_in_the_fourth, args=(tmp_path,))
    process.start()
    limit = time.monotonic() + 120
    while not (tmp_path / ".half.png").exists() and process.is_alive() and time.monotonic() < limit:
        time.sleep(0.02)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    (tmp_path / ".half.png").unlink()
    left = contents(tmp_path)
    assert len(left) == 3
    assert made(tmp_path) == contents(whole)
    assert left.items() <= contents(whole).items()


def test_two_processes_draw_what_one_does(whole, tmp_path):
    assert list(made(tmp_path, devices=2, device="cpu")) == list(contents(whole))
    for wish in WISHES:  # perhaps with other numbers of threads, and so other last bits
        assert np.abs(pixels(tmp_path, wish.key) - pixels(whole, wish.key)).max() <= 1


def test_of_several_prompts_every_picture_draws_one():
    recipe = Recipe("random", ("painting", "impressionist painting"), 16)
    prompts = Counter(drawing(Wish(str(number), "a pond"), recipe).prompt for number in range(200))
    assert set(prompts) == {f"a pond in the style of {word}" for word in recipe.prompts}
    assert min(prompts.values()) > 70
    one = drawing(Wish("a", "a pond"), recipe)
    assert one == drawing(Wish("a", "a pond"), recipe)
    assert one.seed != drawing(Wish("b", "a pond"), recipe).seed
    assert one.seed != drawing(Wish("a", "a pond"), replace(recipe, seed=1)).seed
    assert one.seed == drawing(Wish("a", "a pond"), replace(recipe, prompts=("painting",))).seed


def test_a_long_caption_gives_way_to_the_prompt():
    tokenizer = load_diffusion("random").tokenizer
    prompt = drawing(Wish("a", "mountains " * 300), Recipe("random", ("painting",), 16), tokenizer).prompt
    assert prompt.endswith("mountains in the style of painting")
    assert len(tokenizer(prompt).input_ids) == tokenizer.model_max_length


def test_large_pictures_are_shrunk_to_the_positives_and_small_ones_stay(whole, tmp_path):
    made(tmp_path, WISHES[:2], match_resolution=8)
    for key in "ab":
        with Image.open(whole / f"{key}.png") as image:
            expected = np.array(image.resize((8, 8), Image.Resampling.BICUBIC)).astype(int)
        assert np.abs(pixels(tmp_path, key) - expected).max() <= 1


@pytest.mark.parametrize(
    ("option", "value", "word"),
    [("steps", 3, "steps 2, not 3"), ("prompts", ["illustration"], "prompts"), ("seed", 1, "seed 0, not 1"),
     ("guidance", 5.0, "guidance"), ("sampler", "ddim", "sampler"), ("match_resolution", 8, "match_resolution"),
     ("size", 24, "size 16, not 24")],
)  # fmt: skip
def test_negatives_of_other_settings_are_refused(whole, option, value, word):
    before = contents(whole)
    with pytest.raises(ImpastoError, match=f"negatives of other settings .*{word}.*choose another folder"):
        made(whole, **{option: value})
    assert contents(whole) == before


def test_afresh_replaces_them(tmp_path):
    negatives().make(WISHES[:2], tmp_path / "set")
    negatives(seed=1).make(WISHES[1:2], tmp_path / "set", afresh=True)
    assert list(contents(tmp_path / "set")) == ["b.png"]


@pytest.mark.parametrize("afresh", [False, True])
def test_a_folder_of_something_else_is_left_alone(tmp_path, afresh):
    (tmp_path / "mine.png").write_bytes(b"mine")
    with pytest.raises(ImpastoError, match="holds something other than negatives"):
        negatives().make(WISHES, tmp_path, afresh=afresh)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.png"]


def test_settings_out_of_range_are_refused(tmp_path):
    for option in ("size", "steps", "batch", "devices", "match_resolution"):
        with pytest.raises(ImpastoError, match=f"{option} is 0, and must be at least"):
            negatives(**{option: 0})
    with pytest.raises(ImpastoError, match="need a word"):
        negatives(prompts=["painting", " "])
    with pytest.raises(ImpastoError, match="multiples of 4 pixels, not 18"):
        negatives(size=18).make(WISHES, tmp_path / "set")
    if not torch.cuda.is_available():
        with pytest.raises(ImpastoError, match="no GPU that CUDA can use"):
            negatives(device="cuda")


def test_yaml_names_a_maker():
    from jsonargparse import ArgumentParser

    from datamodules.triplets import TripletDataModule

    parser = ArgumentParser()
    parser.add_class_arguments(TripletDataModule, "data")
    maker = {"class_path": "experiments.negatives.Negatives", "init_args": {"weights": "random", "sampler": "ddim"}}
    config = parser.parse_object({"data": {"styles": "data/van-gogh", "negatives": maker}})
    data = parser.instantiate(config).data
    assert isinstance(data.negatives, Negatives)
    assert data.artists == ("van gogh",)
