import itertools
import zlib
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.learned_styles import ProceduralPainters, StyleFolders
from datamodules.triplet_batches import TripletStream
from datamodules.triplets import TripletDataModule, placeholder_of
from lightning_modules.errors import ImpastoError

COUNTS = {"claude-monet": 6, "van_gogh": 3}


@pytest.fixture
def root(tmp_path):
    """Two styles of pictures that differ everywhere and in shape, with captions and negatives."""
    for style, count in COUNTS.items():
        for number in range(count):
            write(tmp_path / style / f"{number}.png", (style, number))
            (tmp_path / style / f"{number}.txt").write_text(f"{style} {number}")
            write(tmp_path / f"{style}-negatives" / f"{number}.png", (style, number, "negative"))
    return tmp_path


def write(path, key):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(zlib.crc32(str(key).encode())).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def folders(root, **options):
    return StyleFolders([str(root / style) for style in COUNTS], **{"holdout": 0.0} | options)


def ready(styles, stage="fit", place=None, **options):
    module = TripletDataModule(styles, **{"size": 16, "batch_size": 3} | options)
    if place is not None:
        module.trainer = SimpleNamespace(global_rank=place[0], world_size=place[1])
    module.prepare_data()
    module.setup(stage)
    return module


def drawn(module, batches):
    epochs = itertools.repeat(module.train_dataloader())
    return list(itertools.islice(itertools.chain.from_iterable(epochs), batches))


def squashed(path, size=16):
    with Image.open(path) as image:
        resized = image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1).float() / 255


def test_a_triplet_is_a_picture_another_of_its_style_and_the_negative_of_the_first(root):
    module = ready(folders(root), seed=3)
    assert module.artists == ("claude monet", "van gogh")
    assert module.placeholders == ("<claude-monet>", "<van-gogh>")
    for batch in drawn(module, 12):
        for row in range(3):
            style = list(COUNTS)[int(batch.artist[row])]
            token = module.placeholders[int(batch.artist[row])]
            paths = [module.pictures.paths[number] for number in batch.picture[row].tolist()]
            assert [path.parent.name for path in paths] == [style, style, f"{style}-negatives"]
            assert paths[0].name == paths[2].name != paths[1].name
            said = f"{style} {paths[0].stem} in the style of {token}"
            assert batch.caption[row] == batch.negative_caption[row] == batch.prompt[row] == said
            assert batch.anchor_caption[row] == f"{style} {paths[1].stem} in the style of {token}"
            for role, path in enumerate(paths):
                expected = squashed(path)
                expected = expected.flip(-1) if batch.flip[row, role] else expected
                assert torch.equal(batch.images[row, role], expected)
                assert torch.equal(module.pictures[int(batch.picture[row, role])], squashed(path))


def test_every_positive_comes_once_before_any_comes_twice(root):
    module = ready(folders(root), seed=1)
    batches = drawn(module, 6)
    for turn in (batches[:3], batches[3:]):
        assert sorted(int(number) for batch in turn for number in batch.picture[:, 0]) == list(range(9))
    assert [int(index) for batch in batches for index in batch.index] == list(range(18))
    assert len(module.train_dataloader()) == 3


def stream(styles=(0,) * 5, **options):
    return TripletStream(list(styles), **{"batch_size": 4, "batches_per_epoch": 500} | options)


def test_anchors_are_uniform_and_flips_independent():
    triplets = [triplet for batch in stream(seed=5) for triplet in batch]
    pairs = Counter((triplet.positive, triplet.anchor) for triplet in triplets)
    assert len(pairs) == 20  # never itself
    assert all(abs(count - 100) < 45 for count in pairs.values())  # 4.6 standard deviations
    flips = torch.tensor([triplet.flip for triplet in triplets]).float()
    assert torch.allclose(flips.mean(0), torch.full((3,), 0.5), atol=0.05)
    assert (torch.corrcoef(flips.T) - torch.eye(3)).abs().max() < 0.1
    assert not any(any(triplet.flip) for batch in stream(flip=False) for triplet in batch)


def test_the_public_codes_anchor_may_be_the_positive():
    triplets = [triplet for batch in stream(anchor_may_repeat=True) for triplet in batch]
    repeated = sum(triplet.anchor == triplet.positive for triplet in triplets)
    assert abs(repeated / len(triplets) - 0.2) < 0.05


def test_a_seed_decides_and_a_batch_needs_none_before_it():
    one, other = stream(seed=2), stream(seed=2)
    list(one)
    assert one.batch(7) == other.batch(7)
    assert one.batch(7) != stream(seed=3).batch(7)


def test_ranks_share_the_batch_of_one(root):
    whole = drawn(ready(folders(root), batch_size=4), 5)
    shares = [drawn(ready(folders(root), batch_size=4, place=(rank, 2)), 5) for rank in range(2)]
    for batch, *parts in zip(whole, *shares, strict=True):
        assert torch.equal(batch.picture, torch.cat([part.picture for part in parts]))
        assert torch.equal(batch.images, torch.cat([part.images for part in parts]))
    with pytest.raises(ImpastoError, match="3 triplets does not divide among 2"):
        ready(folders(root), place=(0, 2)).train_dataloader()


@pytest.mark.parametrize("stop", [1, 3, 5])
def test_a_stream_continues_at_the_next_batch(root, stop):
    loader, straight = ready(folders(root)).train_dataloader(), ready(folders(root)).train_dataloader()
    everything = [batch.picture.tolist() for _ in range(2) for batch in straight]
    seen = []
    while len(seen) < stop:
        for batch in loader:
            seen.append(batch.picture.tolist())
            if len(seen) == stop:
                state = loader.state_dict()
                break
    resumed = ready(folders(root), workers=1).train_dataloader()
    resumed.load_state_dict(state)
    rest = [batch.picture.tolist() for batch in resumed]
    assert rest == everything[stop : stop + len(rest)]
    assert (stop + len(rest)) % 3 == 0  # to the end of the epoch


def test_without_decoding_batches_carry_numbers_alone(root):
    module = ready(folders(root), negative_suffix="not in the style of")
    with_pictures = drawn(module, 1)[0]
    module.decode = False
    batch = drawn(module, 1)[0]
    assert batch.images is None
    assert torch.equal(batch.picture, with_pictures.picture)
    assert torch.equal(batch.flip, with_pictures.flip)
    assert batch.negative_caption == [said.replace(" in the", " not in the") for said in batch.caption]
    assert (batch.picture.dtype, batch.flip.dtype, batch.artist.dtype) == (torch.int64, torch.bool, torch.int64)


def test_a_fingerprint_knows_bytes_order_and_size(root):
    known = ready(folders(root)).fingerprint
    assert ready(folders(root), batch_size=1, seed=9, workers=1).fingerprint == known
    assert ready(folders(root), size=24).fingerprint != known
    assert ready([str(root / style) for style in reversed(COUNTS)], batch_size=1).fingerprint != known
    negative = root / "van_gogh-negatives" / "2.png"
    negative.write_bytes(negative.read_bytes() + b"\0")
    assert ready(folders(root)).fingerprint != known


def test_held_out_pictures_are_prompts_to_draw(root):
    module = ready(folders(root, holdout=0.3), None, val_batch_size=2, val_pictures=1)
    trained = {module.pictures.paths[each.picture] for each in module.positives}
    batches = list(module.test_dataloader())
    held_out = {
        (root / caption.split()[0] / f"{caption.split()[1]}.png") for batch in batches for caption in batch.prompt
    }
    assert not trained & held_out
    assert (len(trained), len(held_out)) == (6, 3)
    assert torch.cat([batch.index for batch in batches]).tolist() == list(range(len(held_out)))
    first = batches[0]
    style, number = first.prompt[0].split()[:2]
    assert first.prompt[0] == f"{style} {number} in the style of {module.placeholders[int(first.artist[0])]}"
    assert torch.equal(first.style[0], squashed(root / style / f"{number}.png"))
    assert sum(len(batch.prompt) for batch in module.val_dataloader()) == 2
    assert module.describe(0, "test")["picture"] == str(root / style / f"{number}.png")
    assert {work.artist for work in module.style.paintings("train")} == set(module.artists)


def test_test_folders_take_the_place_of_held_out_pictures(root):
    tests = [root / f"{style}-test" for style in COUNTS]
    for test in tests:
        write(test / "9.png", test.name)
        (test / "metadata.jsonl").write_text('{"file_name": "9.png", "text": "a lake"}')
    module = ready(folders(root, holdout=0.5, test_roots=[str(test) for test in tests]), None)
    assert len(module.positives) == 9
    prompts = [prompt for batch in module.test_dataloader() for prompt in batch.prompt]
    assert prompts == [f"a lake in the style of {token}" for token in module.placeholders]


@pytest.mark.parametrize("place", ["negatives", "elsewhere"])
def test_negatives_are_found_beside_the_pictures_or_where_it_is_said(root, place):
    (root / "van_gogh-negatives").rename(root / place)
    given = {"negatives": str(root / place)} if place == "elsewhere" else {}
    module = ready(StyleFolders(str(root / "van_gogh"), holdout=0.0, **given))
    assert {path.parent for path in module.pictures.paths} == {root / "van_gogh", root / place}


def test_what_is_missing_is_said_in_a_sentence(root):
    (root / "van_gogh-negatives" / "1.png").unlink()
    with pytest.raises(ImpastoError, match=r"1 of 3 pictures have no negative, first .*1\.png: run `impasto prepare"):
        ready(folders(root))
    (root / "van_gogh" / "1.txt").unlink()
    with pytest.raises(ImpastoError, match="1 of 3 pictures have no caption"):
        ready(folders(root))
    for number in (1, 2):
        (root / "van_gogh" / f"{number}.png").unlink()
    with pytest.raises(
        ImpastoError, match=r"van gogh has one training picture only, .*0\.png, and an anchor is another"
    ):
        ready(folders(root))
    assert ready(folders(root), anchor_may_repeat=True).positives


def test_an_unreadable_picture_is_named(root):
    (root / "van_gogh" / "1.png").write_bytes(b"no picture")
    module = ready(folders(root))
    with pytest.raises(ImpastoError, match=r"van_gogh/1\.png is not a picture"):
        list(module.pictures)


class Maker:
    """Draws one and the same picture, and remembers what it was asked for."""

    def __init__(self):
        self.asked = []

    def make(self, wishes, folder, *, afresh=False):
        self.asked.append((list(wishes), folder, afresh))
        for wish in wishes:
            if not (folder / f"{wish.key}.png").is_file():
                write(folder / f"{wish.key}.png", wish.key)


def test_a_maker_draws_what_is_missing(root):
    (root / "van_gogh-negatives" / "1.png").unlink()
    maker = Maker()
    assert len(ready(folders(root), negatives=maker).positives) == 9
    [(wishes, folder, afresh)] = maker.asked  # of the style that is complete, nothing
    assert folder == root / "van_gogh-negatives"
    assert ([wish.caption for wish in wishes], afresh) == (["van_gogh 0", "van_gogh 1", "van_gogh 2"], False)


def test_procedural_painters_share_contents_and_negatives(tmp_path):
    painters = ["Juno Maelstrom", "Ada Stipple"]
    counts = {"train": 3, "val": 2, "test": 2}
    source = ProceduralPainters(painters, root=str(tmp_path), size=16, contents_per_split=counts)
    with pytest.raises(ImpastoError, match=r"3 of 3 pictures have no negative.*set data\.negatives"):
        ready(source)
    maker = Maker()
    module = ready(source, None, negatives=maker, batch_size=2)
    assert module.artists == tuple(painters)
    assert [(len(wishes), folder.name, afresh) for wishes, folder, afresh in maker.asked] == [(3, "negatives", True)]
    assert len(module.positives) == 6
    assert len(module.pictures) == 9
    assert len({each.negative for each in module.positives}) == 3
    prompts = [prompt for batch in module.test_dataloader() for prompt in batch.prompt]
    assert [prompt.rpartition(" ")[2] for prompt in prompts] == ["<juno-maelstrom>"] * 2 + ["<ada-stipple>"] * 2
    assert prompts[0].replace("juno-maelstrom", "ada-stipple") == prompts[2]
    assert not any("photo" in prompt for prompt in prompts)
    with pytest.raises(ImpastoError, match="no painter Nobody"):
        ready(ProceduralPainters(["Nobody"], root=str(tmp_path), size=16, contents_per_split=counts))


@pytest.mark.parametrize("placeholders", [["<a>"], ["<a>", "<a>"], ["<a>", "two words"], ["<a>", ""]])
def test_every_style_needs_a_word_of_its_own(root, placeholders):
    with pytest.raises(ImpastoError, match="one word of its own as placeholder"):
        TripletDataModule(folders(root), placeholders=placeholders)
    assert placeholder_of("Élin  d'Été") == "<élin-d-été>"


def test_settings_out_of_range_are_refused(root):
    for options in ({"size": 8}, {"batch_size": 0}, {"val_pictures": 0}):
        with pytest.raises(ImpastoError, match="must be at least"):
            TripletDataModule(folders(root), **options)
    with pytest.raises(ImpastoError, match="holdout is a share"):
        folders(root, holdout=1.0)
    with pytest.raises(ImpastoError, match="2 styles and 1 folders of test_roots"):
        folders(root, test_roots=str(root))
    with pytest.raises(ImpastoError, match="a name of its own"):
        StyleFolders([str(root / "van_gogh"), str(root / "other" / "van-gogh")])
    with pytest.raises(ImpastoError, match="each once"):
        ProceduralPainters([])
    with pytest.raises(ImpastoError, match="call setup"):
        TripletDataModule(folders(root)).train_dataloader()
    with pytest.raises(ImpastoError, match="call setup"):
        TripletDataModule(folders(root)).val_dataloader()
