import torch

from benchmarks.inference import SIZES, near_borders, recipes, table


def test_methods_are_found_by_their_contract():
    found = recipes()
    assert {"clast", "contraast"} <= set(found)
    assert "artist" not in found
    assert all(recipe["init_args"]["weights"] == "random" for recipe in found.values())


def test_ratios_stand_beside_the_papers():
    seconds = {"contraast": (1.0, 4.0, 30.0), "clast": (2.0, 2.0, 15.0)}
    rows = [
        {"method": name, "size": size, "seconds": spent[number]}
        for number, size in enumerate(SIZES)
        for name, spent in seconds.items()
    ]
    lines = table(rows).splitlines()
    assert "| clast | 2.000 | 2.000 | 15.000 | 2.00 / 0.50 / 0.50 | - | - |" in lines
    assert (
        "| contraast | 1.000 | 4.000 | 30.000 | 1.00 / 1.00 / 1.00 | 0.030 / 0.043 / 0.150 | 1.00 / 1.00 / 1.00 |"
        in lines
    )
    assert "| neat | - | - | - | - | 0.049 / 0.068 / 0.226 | 1.63 / 1.58 / 1.51 |" in lines


def test_borders_between_tiles():
    near = near_borders(20, [8], torch.device("cpu"), width=2)
    rows = near[0].nonzero().flatten().tolist()  # a row away from every horizontal border
    assert rows == [6, 7, 8, 9, 14, 15, 16, 17]
    assert near[6].all()
    assert not near_borders(20, [], torch.device("cpu")).any()
