import math

import pytest
import torch

from lightning_modules.errors import ImpastoError
from metrics.functional.style_vector import FORMS, similarity_of_sums, style_similarity, unit_vectors

forms = pytest.mark.parametrize("form", FORMS)


def rows(seed, n, d=6, shift=0.5):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + shift


def cosine(x, y):
    dot = math.fsum(p * q for p, q in zip(x, y, strict=True))
    return dot / math.sqrt(math.fsum(p * p for p in x) * math.fsum(q * q for q in y))


def by_definition(generated, reference, form):
    def unit(vector):
        return [x / math.sqrt(math.fsum(y * y for y in vector)) for x in vector]

    def mean(vectors):
        return [math.fsum(column) / len(vectors) for column in zip(*vectors, strict=True)]

    generated, reference = ([unit(row) for row in x.tolist()] for x in (generated, reference))
    if form == "mean_to_mean":
        return cosine(mean(generated), mean(reference))
    if form == "mean_cosine":
        return math.fsum(cosine(g, mean(reference)) for g in generated) / len(generated)
    return math.fsum(cosine(g, r) for g in generated for r in reference) / (len(generated) * len(reference))


@forms
@pytest.mark.parametrize(("n", "m"), [(7, 7), (9, 4), (1, 5), (5, 1), (1, 1)])
def test_equals_the_definition(form, n, m):
    a, b = rows(0, n), rows(1, m) * 100
    assert abs(float(style_similarity(a, b, form)) - by_definition(a, b, form)) < 1e-14


def test_the_three_forms_differ():
    a, b = rows(0, 30), rows(1, 40)
    values = [float(style_similarity(a, b, form)) for form in FORMS]
    assert values[2] < values[0] < values[1]


@pytest.mark.parametrize("seed", range(20))
def test_identity(seed):
    a = rows(seed, 11) * 1e3
    assert float(style_similarity(a, a.clone(), "mean_to_mean")) == 1
    same = a[:1].expand(4, -1)
    assert all(1 - 1e-15 <= float(style_similarity(same, same, form)) <= 1 for form in FORMS)
    assert all(-1 <= float(style_similarity(same, -same, form)) <= -1 + 1e-15 for form in FORMS)


@forms
def test_vectors_without_direction(form):
    a = rows(0, 4)
    assert float(style_similarity(a, torch.zeros(3, 6), form)) == 0
    assert float(style_similarity(torch.cat([a, -a]), torch.zeros(3, 6), form)) == 0
    assert math.isnan(float(style_similarity(a, a[:0], form)))
    assert math.isnan(float(style_similarity(a[:0], a, form)))


@forms
def test_sums_may_be_stacked(form):
    sets = [(rows(0, 3), rows(1, 5)), (rows(2, 4), rows(3, 2))]
    sums = [torch.stack([unit_vectors(pair[side]).sum(0) for pair in sets]) for side in (0, 1)]
    counts = [torch.tensor([len(pair[side]) for pair in sets]) for side in (0, 1)]
    stacked = similarity_of_sums(sums[0], counts[0], sums[1], counts[1], form)
    expected = torch.stack([style_similarity(*pair, form) for pair in sets])
    assert torch.allclose(stacked, expected, rtol=0, atol=1e-15)


@forms
def test_half_precision_vectors_are_summed_in_double(form):
    a, b = rows(0, 30).half(), rows(1, 30).half()
    assert float(style_similarity(a, b, form)) == float(style_similarity(a.double(), b.double(), form))


def test_what_has_no_similarity_is_refused():
    with pytest.raises(ImpastoError, match=r"\(3, 6\) and \(3, 5\)"):
        style_similarity(rows(0, 3), rows(0, 3, 5))
    with pytest.raises(ImpastoError, match="no form of style similarity 'mean': take one of mean_cosine"):
        style_similarity(rows(0, 3), rows(0, 3), "mean")
