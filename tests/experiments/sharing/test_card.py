"""The card of a model that is shared."""

from experiments.sharing.card import _figures


def test_a_convention_with_a_bar_stays_in_its_cell():
    facts = {"metrics": {"edge_seam": 0.5}, "conventions": {"edge_seam": "mean |gap| of pixels"}}
    assert "| `edge_seam` | 0.5 | mean \\|gap\\| of pixels |" in _figures(facts)
