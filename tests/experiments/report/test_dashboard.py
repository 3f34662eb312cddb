import json

import pytest

from experiments.cli import execute


@pytest.fixture
def without_key(monkeypatch, tmp_path):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


def sections(path):
    return json.loads(path.read_text())["workspace"]["spec"]["section"]["panelBankConfig"]["sections"]


def test_a_dry_run_needs_no_key(trained, tmp_path, without_key, capsys):
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    for path in (first, second):
        assert execute(["dashboard", str(trained), "--project", "mine", "--entity", "me", "--dry-run", str(path)]) == 0
        assert capsys.readouterr().out.splitlines()[-1] == str(path)
    assert first.read_text() == second.read_text()
    said = json.loads(first.read_text())
    assert (said["workspace"]["entity"], said["workspace"]["project"]) == ("me", "mine")
    assert [section["name"] for section in sections(first)] == ["Pictures", "Training", "Settings that differ"]
    training = sections(first)[1]
    assert ["train/total"] in [panel["config"]["metrics"] for panel in training["panels"]]
    limited = json.dumps([said["workspace"]["spec"]["section"]["runSets"], said["report"]["spec"]["blocks"]])
    assert limited.count('"value": ["a"]') == 1 + 3  # the workspace's runs, and those of each part of the report


def test_a_project_whose_runs_nobody_read_gets_the_usual_panels(tmp_path, without_key):
    path = tmp_path / "a.json"
    assert execute(["dashboard", "--project", "mine", "--dry-run", str(path)]) == 0
    plots = {
        metric
        for section in sections(path)
        for panel in section["panels"]
        for metric in panel["config"].get("metrics") or []
    }
    assert {"val/ssim_content", "val/sifid_embedded", "train/total"} <= plots
    apart = [section["name"] for section in sections(path) if "sifid_embedded" in json.dumps(section)]
    assert apart == ["Measured with stand-in networks: not comparable with published figures"]


def test_without_a_key_it_is_one_sentence(without_key, capsys):
    assert execute(["dashboard", "--project", "mine"]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("impasto: There is no W&B key")


def test_a_damaged_run_is_left_out(trained, tmp_path, without_key, capsys):
    path = tmp_path / "a.json"
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/summary.json").write_text("[]")
    assert execute(["dashboard", str(trained), str(tmp_path / "broken"), "--dry-run", str(path)]) == 1
    assert "left out" in capsys.readouterr().err
    assert path.is_file()
    assert execute(["dashboard", str(tmp_path / "broken"), "--dry-run", str(tmp_path / "none.json")]) == 1
    assert not (tmp_path / "none.json").exists()
