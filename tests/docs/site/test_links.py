from docs.site.links import anchors, demoted, links, with_links

TEXT = """# A title: *what's* in `x.py`

See [this
one](a.md#b) and ![](c.png).

```
[not](this.md)
# nor this
```

<a name="by-hand"></a>
"""


def test_links_are_found_outside_of_code_only():
    assert list(links(TEXT)) == [("this\none", "a.md#b"), ("", "c.png")]


def test_targets_change_and_nothing_else_does():
    changed = with_links(TEXT, lambda label, target: f"{label}/{target}")
    assert changed == TEXT.replace("(a.md#b)", "(this\none/a.md#b)").replace("(c.png)", "(/c.png)")


def test_headings_go_down_and_comments_in_code_stay():
    assert demoted(TEXT) == "#" + TEXT


def test_anchors_are_those_of_github():
    assert anchors(TEXT) == {"a-title-whats-in-xpy", "by-hand"}
