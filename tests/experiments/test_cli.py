import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments import cli

ROOT = Path(__file__).parents[2]


def run_python(code):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)  # noqa: S603


def test_help_lists_every_command_without_importing_torch():
    result = run_python(
        "import sys; from experiments.cli import execute; status = execute(['--help']);"
        "print(status, sorted({'torch', 'lightning', 'jsonargparse'} & set(sys.modules)))"
    )
    assert result.stdout.endswith("0 []\n"), result
    for name in ("fit", "validate", "test", "predict", *cli.commands()):
        assert f"\n  {name} " in result.stdout


def test_help_of_the_commands_does_not_import_torch_either():
    names = list(cli.commands())
    result = run_python(
        "import sys; from experiments.cli import execute\n"
        f"for name in {names!r}:\n"
        "    try: execute([name, '--help'])\n"
        "    except SystemExit as stop: assert not stop.code\n"
        "print('torch' in sys.modules)"
    )
    assert result.stdout.endswith("False\n"), result.stderr


@pytest.mark.parametrize("path", cli.commands().values(), ids=cli.commands())
def test_every_command_says_what_it_does(path):
    assert cli.summary(path).endswith(".")


def test_version_and_no_arguments(capsys):
    assert cli.execute(["--version"]) == 0
    assert capsys.readouterr().out.startswith("impasto ")
    assert cli.execute([]) == 2


def test_unknown_command_names_the_nearest(capsys):
    assert cli.execute(["stylise"]) == 2
    assert "did you mean 'stylize'?" in capsys.readouterr().err


def test_a_stranger_that_owns_our_names_is_named(monkeypatch, tmp_path, capsys):
    (tmp_path / "metrics").mkdir()
    stranger = tmp_path / "metrics/__init__.py"
    stranger.touch()
    spec = type("Spec", (), {"origin": str(stranger)})()
    find = cli.importlib.util.find_spec
    monkeypatch.setattr(cli.importlib.util, "find_spec", lambda name: spec if name == "metrics" else find(name))
    monkeypatch.setattr(cli.metadata, "packages_distributions", lambda: {"metrics": ["impasto", "rude-metrics"]})
    assert cli.execute(["fit"]) == 1
    assert "uninstall rude-metrics" in capsys.readouterr().err


def test_ctrl_c_and_failures_are_one_sentence(monkeypatch, capsys):
    from lightning_modules.errors import ImpastoError

    def raising(error):
        def dispatch(*_):
            raise error

        return dispatch

    monkeypatch.setattr(cli, "_dispatch", raising(KeyboardInterrupt()))
    assert cli.execute(["fit"]) == 130
    monkeypatch.setattr(cli, "_dispatch", raising(ImpastoError("Do this instead.")))
    assert cli.execute(["fit"]) == 1
    assert capsys.readouterr().err.splitlines() == ["impasto: Interrupted.", "impasto: Do this instead."]
    monkeypatch.setenv("IMPASTO_TRACEBACK", "1")
    with pytest.raises(ImpastoError):
        cli.execute(["fit"])
