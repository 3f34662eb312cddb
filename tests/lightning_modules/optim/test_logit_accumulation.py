"""Logit accumulation against plain autograd that holds the graphs of all parts at once."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lightning_modules.optim.logit_accumulation import LogitAccumulation, Moment

CPU = torch.device("cpu")
SIZES = (4, 2, 3)


class TwoEncoders(nn.Module):
    """Pictures and words with dropout; the loss holds a head and a temperature, and one weight takes no part."""

    def __init__(self):
        super().__init__()
        self.pictures = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Dropout(0.5), nn.Linear(16, 8))
        self.words = nn.Sequential(nn.Linear(5, 8), nn.Dropout(0.3))
        self.head = nn.Linear(8, 4)
        self.temperature = nn.Parameter(torch.tensor(-1.0))
        self.unused = nn.Linear(2, 2)

    def embed(self, part):
        pictures, words, labels = part
        return self.pictures(pictures + 0.1 * torch.rand_like(pictures)), self.words(words), labels

    def agreement(self, pictures, words, labels):
        a, b = (F.normalize(self.head(z), dim=1) for z in (pictures, words))
        logits = (a @ b.T) * (-self.temperature).exp()
        positives = labels[:, None] == labels
        return -(logits.log_softmax(1).masked_fill(~positives, 0).sum(1) / positives.sum(1)).sum()

    def spread(self, pictures):
        return pictures.square().sum(1).var()


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(3)
    return [
        (
            torch.randn(size, 6, generator=generator, dtype=torch.float64),
            torch.randn(size, 5, generator=generator, dtype=torch.float64),
            torch.randint(3, (size,), generator=generator),
        )
        for size in SIZES
    ]


@pytest.fixture
def model():
    torch.manual_seed(0)
    return TwoEncoders().double()


def cast(data, dtype):
    return [(pictures.to(dtype), words.to(dtype), labels) for pictures, words, labels in data]


def one_shot(model, parts):
    """Return value and gradients with all graphs in memory; part k is computed under seed k."""
    embedded, own = [], []
    for number, part in enumerate(parts):
        torch.manual_seed(number)
        embedded.append(model.embed(part))
        own.append(embedded[-1][0].square().mean())
    pictures, words, labels = (torch.cat(column) for column in zip(*embedded, strict=True))
    total = 0.7 * model.agreement(pictures, words, labels) + model.spread(pictures) + torch.stack(own).mean()
    total.backward()
    return total.detach(), gradients(model)


def kept(parts):
    accumulation = LogitAccumulation()
    for number, part in enumerate(parts):
        torch.manual_seed(number)
        accumulation.keep(part, CPU)
    return accumulation


def accumulated(model, accumulation, *, careful=True):
    for part in accumulation.embedding():
        with torch.set_grad_enabled(not careful):
            pictures, words, labels = model.embed(part)
        accumulation("agreement", model.agreement, pictures, words, labels)
        accumulation("spread", model.spread, pictures)
        torch.rand(accumulation.number)  # as a discriminator might
    totals = []
    for part in accumulation.training():
        pictures, words, labels = model.embed(part)
        agreement = accumulation("agreement", model.agreement, pictures, words, labels)
        total = 0.7 * agreement + accumulation("spread", model.spread, pictures) + pictures.square().mean()
        (total / accumulation.count).backward()
        totals.append(total.detach())
    return torch.stack(totals).mean(), gradients(model)


def gradients(model):
    found = {name: parameter.grad for name, parameter in model.named_parameters()}
    model.zero_grad()
    return found


def assert_equal(ours, reference, tolerance):
    (value, found), (expected, wanted) = ours, reference
    assert torch.allclose(value, expected, rtol=tolerance, atol=0)
    for name, gradient in wanted.items():
        if gradient is None:
            assert found[name] is None, name
            continue
        assert found[name] is not None, name
        assert (found[name] - gradient).norm() <= tolerance * gradient.norm(), name


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_value_and_gradients_are_those_of_one_large_batch(model, data, dtype, tolerance):
    model, parts = model.to(dtype), cast(data, dtype)
    reference = one_shot(model, parts)
    assert reference[1]["unused.weight"] is None
    assert reference[1]["temperature"].abs() > 0.01
    assert_equal(accumulated(model, kept(parts)), reference, tolerance)


def test_a_first_pass_with_gradients_costs_memory_only(model, data):
    assert_equal(accumulated(model, kept(data), careful=False), one_shot(model, data), 1e-12)


@pytest.mark.parametrize("around", [True, False], ids=["within autocast", "outside of it"])
def test_autocast_is_that_of_the_moment_when_a_part_was_kept(model, data, around):
    """Weights that the first pass casts without gradients are not found again by the second, which needs them."""
    model, parts = model.float(), cast(data, torch.float32)
    plain = one_shot(model, parts)
    with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):  # a cached weight sums its gradients in bfloat16
        reference = one_shot(model, parts)
    with torch.autocast("cpu", torch.bfloat16):
        accumulation = kept(parts)
    with torch.autocast("cpu", torch.bfloat16, enabled=around):
        found = accumulated(model, accumulation)
    assert not torch.allclose(plain[1]["pictures.0.weight"], reference[1]["pictures.0.weight"], rtol=1e-3)
    assert_equal(found, reference, 1e-2)  # vectors and their gradients are bfloat16


def test_outside_of_the_passes_a_call_is_the_loss(model, data):
    accumulation = LogitAccumulation()
    vectors = model.eval().embed(data[0])
    assert torch.equal(accumulation("agreement", model.agreement, *vectors), model.agreement(*vectors))
    assert not accumulation.active
    assert (accumulation.count, accumulation.number, accumulation.more) == (1, 0, False)


def test_the_passes_know_their_parts_and_leave_the_generators_alone(data):
    accumulation, seen = LogitAccumulation(), []
    for part in data:
        accumulation.keep(part, CPU)
    torch.manual_seed(5)
    for stage in (accumulation.embedding, accumulation.training):
        for part in stage():
            assert accumulation.active
            assert part is data[accumulation.number]
            seen.append((accumulation.number, accumulation.count, accumulation.more, float(torch.rand(1))))
    assert [entry[:3] for entry in seen] == [(0, 3, True), (1, 3, True), (2, 3, False)] * 2
    assert [entry[3] for entry in seen[:3]] == [entry[3] for entry in seen[3:]]
    drawn = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(1))
    assert list(accumulation.embedding()) == []  # what is done with is forgotten


def test_a_moment_comes_again(data):
    torch.manual_seed(1)
    moment = Moment(CPU)
    first = torch.rand(3), torch.randperm(5)
    between = torch.get_rng_state()
    with moment.again():
        assert torch.equal(torch.rand(3), first[0])
        assert torch.equal(torch.randperm(5), first[1])
    assert torch.equal(torch.get_rng_state(), between)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_moment_comes_again_on_a_gpu():
    device = torch.device("cuda", 0)
    torch.manual_seed(1)
    moment = Moment(device)
    first = torch.rand(3, device=device)
    after = torch.rand(3, device=device)
    with moment.again():
        assert torch.equal(torch.rand(3, device=device), first)
    assert not torch.equal(torch.rand(3, device=device), after)


def test_means_are_over_the_parts_of_a_pass(data):
    accumulation = LogitAccumulation()
    assert accumulation.mean("loss", torch.tensor(9.0)) == 9
    for part in data:
        accumulation.keep(part, CPU)
    for stage in (accumulation.embedding, accumulation.training):
        told = []
        for number, _ in enumerate(stage()):
            told.append(float(accumulation.mean("loss", torch.tensor(float(number**2)))))
        assert told == pytest.approx([0, 1 / 2, 5 / 3])
    assert accumulation.mean("loss", torch.tensor(4.0)) == 4


def test_a_loss_that_was_not_embedded_and_other_shapes_are_errors(model, data):
    accumulation = LogitAccumulation()
    accumulation.keep(data[0], CPU)
    for part in accumulation.embedding():
        accumulation("spread", model.spread, model.embed(part)[0])
    for part in accumulation.training():
        with pytest.raises(RuntimeError, match="agreement"):
            accumulation("agreement", model.agreement, *model.embed(part))
        with pytest.raises(RuntimeError, match=r"\[2, 8\]"):
            accumulation("spread", model.spread, model.embed(part)[0][:2])
