"""The page in a browser, where there is one: it opens from disk, and its script runs."""

import re
import subprocess

from experiments.report.page import write_report


def test_the_script_sorts_and_enlarges(browser, trained, tmp_path):
    page = write_report([trained], tmp_path / "report").page
    script = (
        "<script>document.querySelector('button.shot').click(); document.querySelector('thead button.sort').click()"
    )
    page.write_text(page.read_text().replace("</body>", f"{script}</script></body>"))
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
               f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()]  # fmt: skip
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout  # noqa: S603
    assert 'aria-sort="ascending"' in dom
    assert re.search(r'<dialog id="viewer"[^>]* open=""', dom)
    assert re.search(r'<img id="viewer-after" alt="stub_method tiny: \w"', dom)
