from experiments.report.boards import make_boards
from experiments.report.entries import make_entries
from experiments.report.records import RunRecord


def run(name, metrics, **settings):
    summary = {"method": name, "profile": "tiny", "seed": 0, "iterations": 1, "metrics": metrics}
    return RunRecord(name, f"/runs/{name}", summary, settings)


def boards(*runs):
    return make_boards(make_entries(runs, []))


def test_only_what_saw_the_same_pictures_is_compared():
    data = {"data.content.class_path": "s.Art", "data.val_size": 192, "data.size": 96}
    same = boards(run("a", {"val/x": 1.0}, **data), run("b", {"val/x": 2.0}, **{**data, "data.size": 64}))
    assert [len(board.rows) for board in same] == [2]  # `size` is that of training's crops
    other = boards(run("a", {"val/x": 1.0}, **data), run("b", {"val/x": 2.0}, **{**data, "data.val_size": 256}))
    assert [len(board.rows) for board in other] == [1, 1]
    assert [board.title for board in other] == ["Validation: Art, 192 px", "Validation: Art, 256 px"]
    few = boards(run("a", {"val/x": 1.0}, **data), run("b", {"val/x": 2.0}, **data, **{"trainer.limit_val_batches": 2}))
    assert few[1].title == "Validation: Art, 192 px, first 2 batches"
    rest = boards(run("a", {"val/x": 1.0}, **data), run("b", {"val/x": 2.0}, **data, **{"data.content.root": "there"}))
    assert [board.title for board in rest] == ["Validation: Art, 192 px", "Validation: Art, 192 px (2)"]


def test_the_least_halo_is_marked_nowhere():
    (board,) = boards(run("a", {"val/halo": -1.0, "val/sifid": 1.0}), run("b", {"val/halo": 0.0, "val/sifid": 2.0}))
    assert [column.arrow for column in board.columns] == ["↓", "↓"]
    assert [[cell.mark for cell in row.cells] for row in board.rows] == [["", "leading"], ["", ""]]


def test_no_column_mixes_networks():
    (board,) = boards(run("a", {"val/sifid": 1.0}), run("b", {"val/sifid_embedded": 2.0, "val/sifid_hed": 3.0}))
    assert [(column.key, column.network) for column in board.columns] == [
        ("val/sifid", ""),
        ("val/sifid_embedded", "embedded"),
        ("val/sifid_hed", "hed"),
    ]
    assert board.groups == [("", 1), ("embedded", 1), ("hed", 1)]
    assert [[cell.value is not None for cell in row.cells] for row in board.rows] == [
        [True, False, False],
        [False, True, True],
    ]


def test_reference_values_are_a_part_of_their_own():
    (board,) = boards(run("a", {"val/deception": 0.5, "val/deception_ceiling": 0.9}), run("b", {"val/deception": 0.6}))
    assert [column.key for column in board.part(references=False).columns] == ["val/deception"]
    references = board.part(references=True)
    assert [column.key for column in references.columns] == ["val/deception_ceiling"]
    assert [row.label for row in references.rows] == ["a tiny"]
