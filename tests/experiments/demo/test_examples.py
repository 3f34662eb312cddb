from PIL import Image

from datamodules.procedural import PAINTERS
from experiments.demo.examples import write_examples


def test_examples_are_photographs_and_what_the_named_painter_made_of_others(tmp_path):
    examples = write_examples(tmp_path, 32)
    assert len(examples) == 3
    files = [path for example in examples for path in (example.photograph, example.style)]
    assert len(set(files)) == 6
    assert {Image.open(path).size for path in files} == {(32, 32)}
    assert all(example.prompt in PAINTERS and example.style.stem == example.prompt for example in examples)
