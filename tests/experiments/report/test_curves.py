from experiments.report.curves import Line, draw


def test_curves_survive_what_training_produces():
    odd = [(0, 1.0), (1, float("nan")), (2, float("inf")), (3, 2.0)]
    svg = draw("val/<x>", [Line("a", odd, 1, 2), Line("b", [(5, 1.5)]), Line("c", [])])
    assert svg.count("<polyline") == 1
    assert svg.count("<circle") == 1
    assert 'class="c1 d2"' in svg
    assert "nan" not in svg
    assert 'aria-label="val/&lt;x&gt;: a from 1 at iteration 0 to 2 at 3; b 1.5 at iteration 5"' in svg
    assert draw("x", [Line("a", []), Line("b", [])]) == ""
