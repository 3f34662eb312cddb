"""The card of a model that is shared."""

import tomllib
from pathlib import Path

from experiments.commands.export import LICENCE
from experiments.sharing.card import _figures


def test_a_convention_with_a_bar_stays_in_its_cell():
    facts = {"metrics": {"edge_seam": 0.5}, "conventions": {"edge_seam": "mean |gap| of pixels"}}
    assert "| `edge_seam` | 0.5 | mean \\|gap\\| of pixels |" in _figures(facts)


def test_the_licence_of_a_card_is_that_of_the_repository():
    said = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]["license"]
    assert said.casefold() == LICENCE
