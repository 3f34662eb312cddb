import sys
from pathlib import Path

import pytest
import yaml

from experiments.cli import execute
from experiments.runs.provenance import annotate, sources_in_printed_config

FULL = Path(__file__).parents[3] / "experiments" / "clast" / "full.yaml"


def test_every_printed_constant_of_the_papers_setting_has_its_source(capsys):
    with pytest.raises(SystemExit):
        execute(["fit", "--config", str(FULL), "--model.temperature", "0.2", "--print_config"])
    printed = capsys.readouterr().out
    model = printed[printed.index("\nmodel:") : printed.index("\ndata:")]
    lines = {line.split(":")[0].strip(): line for line in model.splitlines() if line[:4].isspace() and line[4:5] != " "}
    constants = yaml.safe_load(FULL.read_text())["model"]["init_args"]
    assert {key for key in constants if "#" not in lines[key]} == {"temperature"}  # no longer the source's value
    assert "0.07" not in model


def test_a_later_file_wins_and_a_changed_value_loses_its_source(tmp_path):
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text("lr: 1 # [paper]\nsize: 2 # [code]\ngroup: # [both]\n  a: 1\n")
    second.write_text("lr: 1 # [ours]\n")
    printed = "lr: 1\nsize: 3\ngroup:\n  a: 5\n"
    assert annotate(printed, [first, second]) == "lr: 1  # [ours]\nsize: 3\ngroup:  # [both]\n  a: 5\n"


def test_a_hash_inside_a_string_is_no_comment(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("url: 'x#y'\n# whole line\nname: a\n")
    assert annotate("url: x#y\nname: a\n", [file]) == "url: x#y\nname: a\n"


def test_other_output_passes_untouched(capsys):
    with sources_in_printed_config(["--config", str(FULL)]):
        sys.stdout.write("temperature: 0.07\n")
    assert capsys.readouterr().out == "temperature: 0.07\n"
