"""By what the board knows that settings have changed."""

import pytest
import yaml

from experiments.leaderboard.contestants import Contestant
from experiments.leaderboard.runs import fingerprint
from lightning_modules.errors import ImpastoError

BASE = {
    "seed_everything": 0,
    "model": {"class_path": "a.Method", "init_args": {"lr": 0.1, "width": 8}},
    "data": {"init_args": {"root": "here", "size": 96}},
    "trainer": {"max_steps": 5, "devices": 1},
}
WIDE = {"model": {"init_args": {"width": 16}}}


@pytest.fixture
def hashed(tmp_path):
    """Return a function from two YAML files, as text or as settings, and options to the hash."""

    def call(base=BASE, wide=WIDE, options=()):
        paths = []
        for name, said in (("base.yaml", base), ("wide.yaml", wide)):
            (tmp_path / name).write_text(said if isinstance(said, str) else yaml.safe_dump(said))
            paths.append(str(tmp_path / name))
        return fingerprint(Contestant("a", "A", "a", "pairs", configs=tuple(paths), options=options))

    return call


def test_seeds_machines_comments_and_what_a_later_file_replaces_change_nothing(hashed):
    elsewhere = BASE | {"seed_everything": 3, "trainer": {"devices": 4, "max_steps": 5, "accelerator": "gpu"}}
    elsewhere["data"] = {"init_args": {"size": 96, "root": "there", "workers": 2}}
    replaced = BASE | {"model": {"class_path": "a.Method", "init_args": {"width": 99, "lr": 0.1}}}
    same = [hashed(elsewhere), hashed(wide="# wider\nmodel: {init_args: {width: 16}}\n"), hashed(replaced)]
    assert same == [hashed()] * 3


def test_settings_of_every_file_and_options_count(hashed):
    other = [
        hashed(BASE | {"trainer": {"max_steps": 6, "devices": 1}}),
        hashed(wide={"model": {"init_args": {"width": 17}}}),
        hashed(wide={"model": {"init_args": {"width": 16, "skips": 4}}}),
        hashed(options=("--model.lr=0.2",)),
    ]
    assert len({hashed(), *other}) == 5


@pytest.mark.parametrize("wide", ["just words", "", "a: [", "- a list"])
def test_a_file_without_settings_is_said(hashed, wide):
    with pytest.raises(ImpastoError, match=r"wide\.yaml of the leaderboard's a is missing, or holds no settings"):
        hashed(wide=wide)
