"""The tables from a paper to the code name functions that exist, and there is one for each of the five papers."""

from pathlib import Path

import pytest

from docs.site.links import links
from docs.site.reference import definitions

PACKAGES = Path(__file__).parents[2] / "lightning_modules"
PAPERS = ("clast", "contraast", "neat", "least", "nsync")
EQUATIONS = {"clast": (), "contraast": range(1, 8), "neat": range(1, 10), "least": range(1, 8), "nsync": range(1, 3)}
"""Those that each paper numbers."""


def table(paper):
    """Return the rows of the table."""
    readme = (PACKAGES / paper / "README.md").read_text()
    section = readme.split("\n## From the paper to the code\n")[1].split("\n## ")[0]
    return [line for line in section.splitlines() if line.startswith("| ")][1:]


@pytest.mark.parametrize("paper", PAPERS)
def test_every_function_that_a_table_names_exists(paper):
    named = [(label, target) for row in table(paper) for label, target in links(row)]
    assert len(named) >= len(table(paper))
    for label, target in named:
        file, _, function = label.strip("`").rpartition(":")
        assert file == target, label
        assert function in definitions(PACKAGES / paper / target), label


@pytest.mark.parametrize("paper", PAPERS)
def test_every_equation_has_a_row(paper):
    firsts = [row.split("|")[1].replace(" and ", ", ").replace("eq. ", "") for row in table(paper)]
    found = {number.strip() for first in firsts for number in first.split(",")}
    assert {str(number) for number in EQUATIONS[paper]} <= found
