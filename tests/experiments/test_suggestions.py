from argparse import ArgumentError

import pytest

from experiments.suggestions import explain

NESTED = """Parser key "model":
  Does not validate against any of the Union subtypes
  Subtypes: [<class 'a.Model'>, <class 'NoneType'>]
  Errors:
    - Problem with given class_path 'collections.OrderedDict':
        Option 'foo' is not accepted
    - Expected a <class 'NoneType'>
  Given value type: <class 'str'>
  Given value: a.Model
"""


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (NESTED, "Option 'foo' is not accepted (at model)."),
        ("unrecognized arguments: --max_stepz 3", "Unrecognized arguments: --max_stepz 3 (did you mean 'max_steps'?)."),
        (
            "Parser key \"lr\":\n  Expected a <class 'float'>. Got value: x",
            "Expected a float. Got value: x (at lr).",
        ),
    ],
)
def test_explain_keeps_the_last_cause(text, sentence):
    assert explain(ArgumentError(None, text), ["max_steps", "lr"]) == sentence
