import subprocess
import sys

import pytest

from experiments.cli import execute


def test_without_gradio_the_extra_is_named(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert execute(["demo", "--runs", str(tmp_path), "--port", "7999"]) == 1
    assert "impasto[demo]" in capsys.readouterr().err


def test_its_help_costs_no_import():
    script = (
        "import sys\nfrom experiments.cli import execute\n"
        "try: execute(['demo', '--help'])\n"
        "except SystemExit: print([name for name in ('torch', 'gradio', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)  # noqa: S603
    assert "--max-upload MB" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--max-side", "0"], "--max-side must be at least 1."),
        (["--max-upload", "0"], "--max-upload must be at least 1."),
        (["--max-waiting", "-1"], "--max-waiting must be at least 1."),
        (["--port", "99999"], "A port is a number from 1 to 65535, not 99999."),
        (["--profile", "nonsense"], "has no profile 'nonsense'"),
    ],
)
def test_a_wrong_option_is_one_sentence(options, words, capsys):
    assert execute(["demo", *options]) == 1
    assert words in capsys.readouterr().err
