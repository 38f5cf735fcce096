"""README's pictures: small, nothing fetched by them; the script that makes them again works."""

import html
import importlib.util
import re
import sys

import mpi_jobs
import pytest

from distlenet.cli import main

IMAGES = mpi_jobs.ROOT / ".github" / "images"


@pytest.mark.skipif(not IMAGES.is_dir(), reason="a source distribution is without the pictures")
@pytest.mark.parametrize("name", ["live.svg", "report-light.webp", "report-dark.webp"])
def test_pictures_are_small_and_stand_alone(name):
    content = (IMAGES / name).read_bytes()
    assert 5_000 < len(content) < 64_000
    if name.endswith(".svg"):
        assert re.findall(rb"(?:href=|url\()[^#)]*//", content) == [] and b"epoch 4/4" in content.replace(
            b"&#160;", b" "
        )


def test_the_live_display_becomes_a_picture(digits, tmp_path, monkeypatch):
    pytest.importorskip("selenium", reason="scripts/pictures.py takes pictures of the report with selenium")
    pytest.importorskip("PIL", reason="scripts/pictures.py takes pictures of the report with Pillow")
    monkeypatch.setattr(sys, "path", sys.path.copy())
    found = importlib.util.spec_from_file_location("pictures", mpi_jobs.ROOT / "scripts" / "pictures.py")
    pictures = importlib.util.module_from_spec(found)
    found.loader.exec_module(pictures)
    monkeypatch.setattr(pictures, "IMAGES", tmp_path)
    monkeypatch.setattr("distlenet.ui.display.make_display", pictures.Recorder)
    words = ["--recipe", "fast", "--epochs", "2", "--batch-size", "64"]
    assert main(["train", "--data", str(digits), "--run", str(tmp_path / "run"), *words]) == 0
    text = html.unescape(re.sub("<[^>]*>", "", (tmp_path / "live.svg").read_text())).replace("\xa0", " ")
    assert "epoch 2/2" in text and "step 7/11" in text and "lenet5 on" in text
