import torch

from benchmarks.gallery.judging import Jury, Verdict, markdown
from metrics.collection import StyleMetricCollection
from metrics.deception import DeceptionRate
from metrics.ssim import StructuralSimilarity


class AlwaysTheSame(torch.nn.Module):
    """Stands in for a classifier: whatever it sees is the work of the third painter."""

    def __init__(self, artists):
        super().__init__()
        self.artists = artists

    def forward(self, images):
        return torch.nn.functional.one_hot(torch.full((len(images),), 2), len(self.artists)).float()


def test_a_verdict_is_of_the_right_pairs(pairs):
    artists = sorted(task.prompt for task in pairs.tasks)
    metrics = {"named": DeceptionRate(AlwaysTheSame(artists)), "way": StructuralSimilarity()}
    jury = Jury(pairs, StyleMetricCollection(metrics, {"way": ("stylized", "truth")}), "named", "way")
    pictures = pairs.truths.clone()
    pictures[5] = pairs.contents[5]
    verdict = jury.judge("one", pictures)
    assert verdict.painters["named"] == {name: float(name == artists[2]) for name in artists}
    assert verdict.figures["named"] == 1 / 12
    assert [note.partition(",")[0] for note in verdict.notes].count("named") == 1
    assert [number for number, note in enumerate(verdict.notes) if not note.endswith("way 1.00")] == [5]
    assert jury.judge("two", pairs.truths).figures["way"] == 1  # nothing of the last contender is left
    assert set(jury.conventions()) == {"named", "way"}


def test_the_table_has_a_row_a_contender_and_says_how_each_figure_is_computed():
    verdicts = [Verdict("floor", {"a": 0.25}, {}, []), Verdict("one", {"a": 1, "seconds": 0.5}, {}, [])]
    lines = markdown(verdicts, {"a": "by eye", "seconds": "by a clock"}).splitlines()
    assert lines[0] == "| | a | seconds |"
    assert lines[2:4] == ["| floor | 0.250 |  |", "| one | 1.000 | 0.500 |"]
    assert lines[-2:] == ["- `a`: by eye", "- `seconds`: by a clock"]
