import json

import pytest
from PIL import Image

from benchmarks.least_profiles import main


def test_a_profile_is_measured_against_the_first_and_beside_another_seed(tmp_path, capsys):
    main(["--profiles", "smoke", "--size", "64", "--cell", "64", "--out", str(tmp_path / "new")])
    written = json.loads((tmp_path / "new/profiles.json").read_text())
    first, again = (written["profiles"][name] for name in ("smoke", "smoke, seed 1"))
    assert (first["lpips_first"], first["ssim_first"]) == (0, pytest.approx(1))
    assert again["lpips_first"] > 0.001
    assert 0 < again["ssim_first"] < 1
    assert first["lpips_content"] > 0.1
    with Image.open(tmp_path / "new/profiles.jpg") as row:
        assert row.size == (6 + 3 * 70, 22 + 64 + 6)
    assert capsys.readouterr().out.splitlines()[-2].startswith("| smoke | ")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [(["--profiles", "slow"], "least has no profile 'slow'"), (["--region", "sea"], "has no region sea")],
)
def test_what_is_not_there_is_named(options, sentence, tmp_path):
    with pytest.raises(SystemExit, match=sentence):
        main([*options, "--size", "32", "--out", str(tmp_path)])
