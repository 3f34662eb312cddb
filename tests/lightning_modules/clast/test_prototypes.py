import torch
import torch.nn.functional as F

from lightning_modules.clast.prototypes import Prototypes
from lightning_modules.clast.settings import LossWeights
from lightning_modules.types import StyleBatch


def started(shrinkage=20.0, paintings=(5, 60)):
    prototypes = Prototypes(shrinkage)
    prototypes.start(["Ada", "Bob"], torch.eye(4)[:2] * 3, paintings)
    return prototypes


def test_the_mean_is_that_of_unit_vectors_whatever_the_batches():
    generator = torch.Generator().manual_seed(0)
    vectors, artist = torch.randn(30, 4, generator=generator), torch.randint(0, 2, (30,), generator=generator)
    prototypes = started()
    for part in torch.arange(30).split([7, 1, 22]):
        prototypes.update(artist[part], vectors[part])
    for label in (0, 1):
        expected = F.normalize(vectors[artist == label], dim=1).double().mean(0)
        assert torch.allclose(prototypes.means[label].double(), expected, atol=1e-6)


def test_few_paintings_lean_on_the_name():
    prototypes, gap = started(shrinkage=20.0), torch.full((4,), 0.1)
    prototypes.update(torch.tensor([0, 1]), torch.tensor([[0.0, 0, 2, 0], [0, 0, 0, 5.0]]))
    ada, bob = prototypes(torch.tensor([0, 1]), gap)
    assert torch.allclose(ada, 0.2 * torch.eye(4)[2] + 0.8 * (torch.eye(4)[0] + gap))
    assert torch.allclose(bob, 0.75 * torch.eye(4)[3] + 0.25 * (torch.eye(4)[1] + gap))


def test_an_artist_not_seen_yet_is_the_name_alone():
    prototypes = started()
    assert torch.equal(prototypes(torch.tensor([1]), torch.zeros(4))[0], torch.eye(4)[1])


def test_they_travel_in_the_checkpoint_and_start_does_not_erase_them(small_clast, tmp_path):
    prototypes = started()
    prototypes.update(torch.tensor([0]), torch.ones(1, 4))
    torch.save(prototypes.state_dict(), tmp_path / "state.pt")
    other = Prototypes(20.0)
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    other.start(["Ada", "Bob"], torch.zeros(2, 4), [1, 1])
    labels = torch.tensor([0, 1])
    assert torch.equal(other(labels, torch.zeros(4)), prototypes(labels, torch.zeros(4)))
    assert other.label("ADA") == 0
    assert other.label("Cid") is None


def test_a_known_name_is_painted_with_its_prototype_and_a_stranger_with_the_text(small_clast):
    clast = small_clast(loss=LossWeights(lpips=0.0), prototype_shrinkage=20.0)
    plain = clast.text_code(["Ada Stipple", "Zoe"])
    clast.prototypes.start(["Ada Stipple"], clast.prompts.ensemble("Ada Stipple")[None], [4])
    generator = torch.Generator().manual_seed(1)
    content, style, reference = (torch.rand(2, 3, 48, 48, generator=generator) for _ in range(3))
    data = StyleBatch(content, style, torch.zeros(2).long(), ["Ada Stipple"] * 2, torch.arange(2), reference)
    terms, _ = clast.loss_terms(data)
    torch.stack(list(terms.values())).sum().backward()
    known, stranger = clast.text_code(["ada stipple", "Zoe"])
    assert torch.equal(stranger, plain[1])
    expected = clast.style_code(clast._prototypes(torch.tensor([0])), "image")[0]
    assert torch.allclose(known, expected)
    assert not torch.allclose(known, plain[0], atol=1e-2)
