"""NSYNC's combinations of gradients against a literal float64 transcription, and before they may be linear."""

import math

import pytest
import torch
from torch import nn

from lightning_modules.optim.gradient_projection import GradientProjection, combine_roles, project, roles_of
from lightning_modules.optim.roles import RoleGradients

VARIANTS = ("TI", "CTM", "CTMA", "CTO", "CTOA")
EVERY_RULE = [(variant, algorithm) for variant in VARIANTS for algorithm in ("paper", "reference")]
ROLES = ("positive", "anchor", "negative")


def vectors(count=40, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {role: torch.randn(count, generator=generator) for role in ROLES}


def along(u, v):
    """Project by Python's own floats, which are doubles."""
    dot, square = math.fsum(a * b for a, b in zip(u, v, strict=True)), math.fsum(b * b for b in v)
    return [dot / square * b for b in v]


def literal(roles, variant, algorithm):
    """Emulate the public loop: gradients pile up in one buffer, from which snapshots are taken; and eq. 2 beside it."""
    p, a, n = (roles[role].double().tolist() for role in ROLES)
    places = range(len(p))
    if algorithm == "reference":
        first = p
        second = [p[i] + n[i] for i in places]
        third = [second[i] + a[i] for i in places]
        rules = {
            "TI": lambda: first,
            "CTM": lambda: [(first[i] + second[i]) / 2 for i in places],
            "CTMA": lambda: [(first[i] + second[i] + third[i]) / 3 for i in places],
            "CTO": lambda: [first[i] - along(first, second)[i] for i in places],
            "CTOA": lambda: [first[i] - along(first, second)[i] + along(first, first)[i] for i in places],
        }
    else:
        rules = {
            "TI": lambda: p,
            "CTM": lambda: [(p[i] + n[i]) / 2 for i in places],
            "CTMA": lambda: [(p[i] + a[i] + n[i]) / 3 for i in places],
            "CTO": lambda: [p[i] - along(p, n)[i] for i in places],
            "CTOA": lambda: [p[i] - along(p, n)[i] + along(p, a)[i] for i in places],
        }
    return torch.tensor(rules[variant](), dtype=torch.float64)


@pytest.mark.parametrize(("variant", "algorithm"), EVERY_RULE)
def test_every_rule_is_its_literal_form(variant, algorithm):
    roles = vectors()
    used = {role: roles[role] for role in roles_of(variant, algorithm)}  # nothing else is asked for
    found = combine_roles(used, variant, algorithm)
    assert torch.allclose(found, literal(roles, variant, algorithm), rtol=1e-12, atol=1e-14)


def test_roles_that_a_rule_does_not_look_at_are_not_computed():
    assert roles_of("CTO") == roles_of("CTOA", "reference") == ("positive", "negative")
    assert roles_of("CTMA", "reference") == ROLES


@pytest.mark.parametrize("seed", range(3))
def test_what_is_left_is_orthogonal_to_the_negative(seed):
    roles = vectors(seed=seed)
    left = GradientProjection("CTO")({role: [vector] for role, vector in roles.items()})[0]
    assert left.dtype == torch.float32
    cosine = torch.nn.functional.cosine_similarity(left.double(), roles["negative"].double(), dim=0)
    assert abs(float(cosine)) < 1e-6


@pytest.mark.parametrize(("variant", "algorithm"), EVERY_RULE)
@pytest.mark.parametrize("scale", [1e-25, 65536.0])
def test_a_loss_scale_comes_out_again(variant, algorithm, scale):
    roles = vectors()
    scaled = {role: (vector.double() * scale).float() for role, vector in roles.items()}
    found = combine_roles(scaled, variant, algorithm) / scale
    assert torch.allclose(found, combine_roles(roles, variant, algorithm), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bad", [0.0, 1e-9, math.nan, math.inf])
def test_a_direction_that_is_none_projects_nothing(bad):
    u = torch.tensor([1.0, 2.0, 3.0])
    assert project(u, torch.full((3,), bad)).tolist() == [0, 0, 0]
    roles = {"positive": u, "negative": torch.full((3,), bad), "anchor": torch.full((3,), bad)}
    assert combine_roles(roles, "CTOA").tolist() == u.tolist()
    assert project(torch.zeros(3), torch.zeros(3)).tolist() == [0, 0, 0]


def test_only_zeros_need_no_guard_in_the_mean():
    zeros = dict.fromkeys(ROLES, torch.zeros(4))
    for variant, algorithm in EVERY_RULE:
        assert combine_roles(zeros, variant, algorithm).tolist() == [0] * 4


def parts(seed):
    """Return the gradients of four tensors for every role."""
    whole = vectors(30, seed)
    return {role: [part.reshape(-1, 3) for part in vector.split([6, 9, 3, 12])] for role, vector in whole.items()}


def flat(tensors):
    return torch.cat([tensor.flatten() for tensor in tensors])


@pytest.mark.parametrize("groups", [(0, 0, 0, 0), (0, 0, 1, 1), (1, 0, 1, 0), None])
def test_a_group_is_one_vector(groups):
    gradients = parts(1)
    found = GradientProjection("CTOA", groups=groups)(gradients)
    numbers = groups or range(4)
    for group in set(numbers):
        members = [number for number, its in enumerate(numbers) if its == group]
        joined = {role: flat([tensors[number] for number in members]) for role, tensors in gradients.items()}
        expected = literal(joined, "CTOA", "paper")
        assert torch.allclose(flat([found[number] for number in members]).double(), expected, atol=1e-6)
    for ours, like in zip(found, gradients["positive"], strict=True):
        assert ours.shape == like.shape


def test_rows_are_vectors_of_their_own():
    gradients = parts(2)
    found = GradientProjection("CTO", rows=True)(gradients)
    for number, tensor in enumerate(found):
        for row, vector in enumerate(tensor):
            roles = {role: tensors[number][row] for role, tensors in gradients.items()}
            assert torch.allclose(vector.double(), literal(roles, "CTO", "paper"), atol=1e-6)


def test_gradients_that_do_not_fit_the_groups_are_refused():
    with pytest.raises(ValueError, match="4 gradients came for 2"):
        GradientProjection("CTO", groups=(0, 1))(parts(0))


def test_measures_are_lengths_and_cosines_of_the_groups_mean():
    gradients = {"positive": [torch.tensor([3.0, 4.0]), torch.tensor([1.0, 0.0])]}
    gradients["negative"] = [torch.tensor([6.0, 8.0]), torch.tensor([0.0, 0.0])]
    measures = GradientProjection("CTO").measures(gradients)
    assert measures.keys() == {"norm_positive", "norm_negative", "cos_negative"}
    assert float(measures["norm_positive"]) == 3
    assert float(measures["norm_negative"]) == 5
    assert float(measures["cos_negative"]) == pytest.approx(0.5)


# ---------------------------------------------------------------------- micro-batches and ranks


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()


LOSSES = {
    "positive": lambda out: out.square().mean(),
    "anchor": lambda out: (out - 1).abs().mean(),
    "negative": lambda out: (out + out.pow(3)).mean(),
}


def inputs():
    return torch.rand(4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def collect(micro_batches, window):
    net = network()
    roles = RoleGradients(list(net.parameters()), ROLES, lambda loss, **_: loss.backward(), window)
    for batch in micro_batches:
        for role, loss in LOSSES.items():
            roles.backward(role, loss(net(batch)))
    roles.write(GradientProjection("CTOA", groups=(0,) * 4))
    return [parameter.grad for parameter in net.parameters()]


def expected():
    net = network()
    gradients = {
        role: flat(torch.autograd.grad(loss(net(inputs())), list(net.parameters()))) for role, loss in LOSSES.items()
    }
    return literal(gradients, "CTOA", "paper")


@pytest.mark.parametrize("pieces", [1, 2, 4])
def test_micro_batches_are_combined_after_they_are_summed(pieces):
    assert torch.allclose(flat(collect(inputs().chunk(pieces), pieces)), expected(), rtol=1e-10)


def of_a_rank(rank, folder):
    store = torch.distributed.FileStore(f"{folder}/store", 2)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    torch.save(collect(inputs().chunk(2)[rank].chunk(2), 2), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_ranks_are_combined_after_they_are_averaged(tmp_path, run_ranks):
    run_ranks(of_a_rank, str(tmp_path))
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert torch.equal(flat(first), flat(second))
    assert torch.allclose(flat(first), expected(), rtol=1e-10)
