from experiments.report.text import coded


def test_code_in_a_note_is_marked_and_all_else_escaped():
    assert coded("By `impasto evaluate` <i>") == "By <code>impasto evaluate</code> &lt;i&gt;"
    assert coded("`<b>`") == "<code>&lt;b&gt;</code>"
    assert coded("a ` alone") == "a ` alone"
