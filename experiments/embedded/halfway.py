"""Pictures on the way to a painting, made by no method of this repo, which the artist classifier has to tell apart.

Stylisations that stop early are nobody's paintings. Paintings that a small decoder reproduces, or that are put together
from patches of true ones, are still their painter's: traces of a decoder and a scene that nobody saw must not decide.
"""

import time
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from experiments.embedded.gallery import Gallery, random_crops
from lightning_modules.losses.content import content_loss
from lightning_modules.losses.style import style_loss
from lightning_modules.networks.vgg import VGGConfig, VGGEncoder, VGGTrunk
from lightning_modules.weights import load_vgg

SIZE = 192
LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
CONTENT = ("relu3_1",)
PATCH, STEP, POOL = 24, 18, 4  # pixels; how many pairs of photograph and painting patches are taken from


class Stylist(nn.Module):
    """A feed-forward painter as small as they come: one scale and shift per artist between an encoder and a decoder.

    Args:
        artists: How many it learns.
        residual: Add to the photograph instead of painting afresh.
        transposed: Enlarge by transposed convolutions, which leave checkerboards, instead of doubling pixels.
        width: Channels at a quarter of the sides.
    """

    def __init__(self, artists: int, *, residual: bool, transposed: bool, width: int = 48) -> None:
        super().__init__()
        self.residual = residual
        half = width // 2
        self.down = nn.Sequential(
            nn.Conv2d(3, half, 5, 2, 2), nn.GELU(), nn.Conv2d(half, width, 3, 2, 1), nn.InstanceNorm2d(width)
        )
        self.manner = nn.Embedding(artists, 2 * width)
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.GELU(), nn.Conv2d(width, width, 3, padding=1)
        )
        self.up = nn.Sequential(*_doubling(width, half, transposed), nn.GELU(), *_doubling(half, 3, transposed))

    def forward(self, photographs: Tensor, artists: Tensor) -> Tensor:
        """Return ``(B, 3, H, W)`` in [0, 1] of photographs alike."""
        scale, shift = self.manner(artists)[:, :, None, None].chunk(2, 1)
        hidden = F.gelu(self.down(photographs) * (1 + scale) + shift)
        painted: Tensor = self.up(hidden + self.body(hidden))
        return (photographs + painted).clamp(0, 1) if self.residual else painted.sigmoid()


class Copyist(nn.Module):
    """An auto-encoder that reproduces what it sees, with the traces of a decoder."""

    def __init__(self, *, transposed: bool, width: int = 32) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, width, 3, 2, 1), nn.GELU(), nn.Conv2d(width, 2 * width, 3, 2, 1), nn.GELU(),
            *_doubling(2 * width, width, transposed), nn.GELU(), *_doubling(width, 3, transposed),
        )  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        """Return ``(B, 3, H, W)`` in [0, 1] of pictures alike, whose sides are multiples of four."""
        copied: Tensor = self.body(images - 0.5)
        return (copied + 0.5).clamp(0, 1)


def stylisations(gallery: Gallery, generator: torch.Generator, *, steps: int = 60, batch: int = 4) -> Tensor:
    """Return what three small painters and an optimisation of pixels make while they learn, ``(N, 3, S, S)``, uint8.

    They go by style statistics of the embedded encoder or of a random one, and stop long before they paint well; all
    that the painters made on the way is returned, from the first step on.
    """
    start, found = time.perf_counter(), []
    device = gallery.images.device
    encoders = (load_vgg("embedded").to(device), _random_encoder(generator).to(device))
    for number in range(3):
        stylist = Stylist(len(gallery.artists), residual=number != 1, transposed=number > 0).to(device)
        found += list(_learning(stylist, encoders[number % 2], gallery, generator, steps, batch))
        print(f"halfway: painter {number + 1} of 3, {time.perf_counter() - start:.0f} s", flush=True)
    for number in range(steps // 8):
        found += list(_optimising(encoders[number % 2], gallery, generator, batch))
    print(f"halfway: pixels optimised, {time.perf_counter() - start:.0f} s", flush=True)
    return torch.cat(found)


def copyists(gallery: Gallery, generator: torch.Generator, *, steps: int = 120) -> list[nn.Module]:
    """Return small auto-encoders at several moments of their training, the last ones good copyists."""
    found: list[nn.Module] = []
    for transposed in (False, True):
        copyist = Copyist(transposed=transposed).to(gallery.images.device)
        optimizer = torch.optim.Adam(copyist.parameters(), lr=4e-3)
        for _ in range(steps):
            batch = torch.randint(len(gallery.images), (12,), generator=generator)
            crops = random_crops(gallery.images[batch], (80, 200), 80, generator)
            _step(optimizer, F.l1_loss(copyist(crops), crops))
        found.append(copyist.requires_grad_(False))
    return found


def patchworks(gallery: Gallery, generator: torch.Generator, *, each: int = 24) -> tuple[Tensor, Tensor]:
    """Return photographs put together from patches of every artist's paintings of other scenes.

    A patch of the photograph is replaced by the artist's painting of the patch that is most like it.

    Returns:
        ``(N, 3, S, S)``, uint8, and the artists, ``(N,)``.

    Source: Hertzmann et al. 2001 (image analogies), with one scale and whole patches.
    """
    pictures, artists = [], []
    for artist in range(len(gallery.artists)):
        works = (gallery.artist == artist).nonzero().flatten()
        for _ in range(each):
            chosen = works[torch.randperm(len(works), generator=generator)[: POOL + 1]]
            pairs = _pairs(gallery, chosen, generator)
            pictures.append(_patchwork(pairs[0, :3], pairs[1:, :3], pairs[1:, 3:]))
            artists.append(artist)
    return _bytes(torch.stack(pictures)), torch.tensor(artists)


def _learning(
    stylist: Stylist, encoder: VGGEncoder, gallery: Gallery, generator: torch.Generator, steps: int, batch: int
) -> Iterator[Tensor]:
    optimizer = torch.optim.Adam(stylist.parameters(), lr=2e-3)
    for _ in range(steps):
        works = gallery.paintings()[torch.randint(len(gallery.paintings()), (batch,), generator=generator)]
        photographs, styles = _draw(gallery, works, generator)
        painted = stylist(photographs, gallery.artist[works].to(photographs.device))
        _step(optimizer, _losses(encoder, painted, photographs, styles))
        yield _bytes(painted.detach())


def _optimising(encoder: VGGEncoder, gallery: Gallery, generator: torch.Generator, batch: int) -> Iterator[Tensor]:
    works = gallery.paintings()[torch.randint(len(gallery.paintings()), (batch,), generator=generator)]
    photographs, styles = _draw(gallery, works, generator)
    picture = photographs.clone().requires_grad_()
    optimizer = torch.optim.Adam([picture], lr=0.03)
    for step in range(1, 25):
        _step(optimizer, _losses(encoder, picture.clamp(0, 1), photographs, styles))
        if step in {4, 10, 24}:
            yield _bytes(picture.detach())


def _losses(encoder: VGGEncoder, painted: Tensor, photographs: Tensor, styles: Tensor) -> Tensor:
    with torch.no_grad():
        goal, known = encoder(styles, LAYERS), encoder(photographs, CONTENT)
    maps = encoder(painted, LAYERS)
    return style_loss(maps, goal) + 0.3 * content_loss(maps, known, CONTENT)


def _draw(gallery: Gallery, works: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    plain = gallery.photographs()
    plain = plain[torch.randint(len(plain), (len(works),), generator=generator)]
    pictures = random_crops(gallery.images[torch.cat((plain, works))], (SIZE, 224), SIZE, generator)
    return pictures[: len(works)], pictures[len(works) :]


def _pairs(gallery: Gallery, works: Tensor, generator: torch.Generator) -> Tensor:
    """Return crops of photographs and of the paintings of the very same, ``(B, 6, S, S)``."""
    both = torch.cat((gallery.images[gallery.content[works]], gallery.images[works]), 1)
    return random_crops(both, (SIZE, SIZE), SIZE, generator)


def _patchwork(photograph: Tensor, contents: Tensor, paintings: Tensor) -> Tensor:
    known = F.unfold(contents, PATCH, stride=3)  # POOL, 3 PATCH^2, places
    places = known.shape[2]
    known = known.transpose(1, 2).reshape(-1, 3, PATCH, PATCH)
    padded = F.pad(photograph[None], (0, -(SIZE - PATCH) % STEP, 0, -(SIZE - PATCH) % STEP), mode="reflect")
    wanted = F.unfold(padded, PATCH, stride=STEP)[0].T.reshape(-1, 3, PATCH, PATCH)
    ours, theirs = (F.adaptive_avg_pool2d(patches, 6).flatten(1) for patches in (wanted, known))
    nearest = torch.cdist(ours, theirs).argmin(1)
    painted = F.unfold(paintings, PATCH, stride=3).transpose(1, 2).reshape(len(paintings) * places, -1)[nearest]
    edge = PATCH - STEP
    ramp = torch.linspace(1, PATCH, PATCH).clamp(max=edge).minimum(torch.linspace(PATCH, 1, PATCH))
    weight = (ramp[:, None] * ramp).to(photograph.device).flatten().repeat(3)[:, None].expand(-1, len(nearest))
    size = tuple(padded.shape[2:])
    total = F.fold((painted.T * weight)[None], size, PATCH, stride=STEP)
    return (total / F.fold(weight[None], size, PATCH, stride=STEP))[0, :, :SIZE, :SIZE]


def _random_encoder(generator: torch.Generator) -> VGGEncoder:
    trunk = VGGTrunk(VGGConfig(widths=(16, 32, 64, 128, 128), padding="reflect"))
    for name, parameter in trunk.convs.named_parameters():
        if name.endswith("weight"):
            fan = parameter[0].numel()
            parameter.data = torch.randn(parameter.shape, generator=generator) * (2 / fan) ** 0.5
        else:
            nn.init.zeros_(parameter)
    return VGGEncoder(trunk, "random")


def _doubling(inputs: int, outputs: int, transposed: bool) -> tuple[nn.Module, ...]:
    if transposed:
        return (nn.ConvTranspose2d(inputs, outputs, 4, 2, 1),)
    return (nn.Upsample(scale_factor=2), nn.Conv2d(inputs, outputs, 3, padding=1))


def _step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def _bytes(pictures: Tensor) -> Tensor:
    return (pictures.clamp(0, 1) * 255).round().byte()
