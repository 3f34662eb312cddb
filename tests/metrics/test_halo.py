import matplotlib as mpl
import pytest
import torch
from torch import nn

from lightning_modules.errors import ImpastoError
from metrics.collection import StyleMetricCollection
from metrics.functional.halo import style_halo
from metrics.halo import StyleHalo

COUNT = 5


@pytest.fixture(scope="module")
def sides():
    """Stylised pictures, contents of which the last has no edge, and true paintings."""
    generator = torch.Generator().manual_seed(0)
    stylized, truth = (torch.rand(COUNT, 3, 64, 44, generator=generator) for _ in range(2))
    stylized[..., :24] *= 0.5
    content = torch.zeros(COUNT, 3, 64, 44)
    for number in range(COUNT - 1):
        content[number, ..., : number + 1] = 1
    return stylized, content, truth


@pytest.mark.parametrize("splits", [(5,), (1, 4), (2, 2, 1)])
def test_batches_of_any_size_give_one_mean_and_say_who_is_left_out(sides, splits):
    for form in ("ratio", "profile"):
        for given in (sides, sides[:2]):
            metric = StyleHalo(form)
            for parts in zip(*(side.split(splits) for side in given), strict=True):
                metric.update(*parts)
            expected = style_halo(*given, form=form)
            assert expected.isnan().tolist() == [False] * 4 + [True]
            torch.testing.assert_close(metric.values(*given), expected, rtol=0, atol=0, equal_nan=True)
            assert float(metric.compute()) == pytest.approx(float(expected[:4].mean()), rel=1e-12)
            assert [int(number) for number in metric.profile()[2:]] == [4, 1]


def test_the_profile_is_the_mean_over_pictures(sides):
    stylized, content, truth = sides
    metric = StyleHalo()
    metric.update(stylized, content)
    found = metric.profile()
    assert found.stylized.shape == (7,)
    assert found.stylized[0] < -0.3 < 0.1 < found.stylized[4]  # plainer near the edge
    assert bool(found.stylized[6:].isnan().all())  # no place is 40 pixels away
    assert bool(found.truth.isnan().all())
    with_truth = StyleHalo("profile")
    with_truth.update(truth, content, stylized)
    assert float(with_truth.profile().stylized[:6].abs().max()) < 0.1
    torch.testing.assert_close(with_truth.profile().truth, found.stylized, equal_nan=True)
    singles = []
    for number in range(4):
        single = StyleHalo()
        single.update(stylized[number][None], content[number][None])
        singles.append(single.profile().stylized)
    torch.testing.assert_close(torch.stack(singles).nanmean(0), found.stylized, equal_nan=True)


def test_nothing_seen_is_nan_and_reset_forgets(sides):
    metric = StyleHalo()
    metric.update(*sides)
    metric.reset()
    assert int(metric.profile().left_out) == 0
    assert bool(metric.profile().stylized.isnan().all())
    metric.update(sides[0][-1:], sides[1][-1:])
    assert bool(metric.compute().isnan())


def test_the_plot_has_a_line_for_the_pictures_and_one_for_the_painter(sides):
    mpl.use("agg")
    metric = StyleHalo()
    metric.update(*sides)
    figure, axes = metric.plot()
    lines = {line.get_label(): line.get_ydata() for line in axes.get_lines()}
    for name in ("stylized", "truth"):
        torch.testing.assert_close(torch.from_numpy(lines[name]), getattr(metric.profile(), name), equal_nan=True)
    assert [text.get_text() for text in axes.get_xticklabels()] == [
        "0-8", "8-12", "12-16", "16-20", "20-28", "28-40", ">40"
    ]  # fmt: skip
    assert axes.figure is figure
    alone = StyleHalo()
    alone.update(*sides[:2])
    assert {text.get_text() for text in alone.plot(ax=figure.add_subplot())[1].get_legend().get_texts()} == {"stylized"}
    _, axes = metric.plot(metric.compute())
    assert float(axes.get_lines()[0].get_ydata()[0]) == pytest.approx(float(metric.compute()))
    mpl.pyplot.close("all")


def test_precision_of_the_training_around_it_does_not_matter(sides):
    parent = nn.Module()
    parent.metric = StyleHalo()
    parent.metric.update(*sides)
    before = float(parent.metric.compute())
    parent.to(torch.bfloat16).half()
    with torch.autocast("cpu", torch.bfloat16):
        parent.metric.update(*sides)
    assert float(parent.metric.compute()) == pytest.approx(before, rel=1e-12)
    assert parent.state_dict() == {}


def test_a_collection_feeds_it_with_or_without_the_truth(sides):
    collection = StyleMetricCollection(
        {"halo": StyleHalo(), "halo_truth": StyleHalo()}, {"halo_truth": ("stylized", "content", "truth")}
    )
    fields = dict(zip(("stylized", "content", "truth"), sides, strict=True))
    collection.update(index=torch.arange(COUNT), **fields)
    values = collection.compute()
    assert float(values["halo"]) == pytest.approx(float(style_halo(*sides[:2]).nanmean()))
    assert float(values["halo_truth"]) == pytest.approx(float(style_halo(*sides).nanmean()))
    assert collection.conventions()["halo_truth"].startswith("of stylized and content and truth: ln of the mean energy")


def test_what_is_refused(sides):
    stylized, content, truth = sides
    with pytest.raises(ImpastoError, match="no form of the halo 'sum'"):
        StyleHalo("sum")
    with pytest.raises(ImpastoError, match="finite slope above 0, got -1"):
        StyleHalo(edge=-1)
    metric = StyleHalo()
    with pytest.raises(ImpastoError, match="5 stylized pictures and 4 contents"):
        metric.update(stylized, content[:4])
    with pytest.raises(ImpastoError, match="true and content pictures differ in shape"):
        metric.update(stylized, content, truth[:4])
    with pytest.raises(ImpastoError, match="stylized and content pictures differ in shape"):
        metric.values(stylized[..., :40], content)
