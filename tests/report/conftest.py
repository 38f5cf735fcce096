"""Fixtures for the tests of the report."""

import pytest

from distlenet.runs.ours import SOFTWARE


@pytest.fixture
def undrawn(monkeypatch):
    """Figures are made, but not painted, which takes most of the time."""
    painted = f'<svg viewBox="0 0 9 9"><metadata><dc:title>{SOFTWARE}</dc:title></metadata></svg>'
    monkeypatch.setattr("distlenet.report.page.as_svg", lambda figure: painted)
    monkeypatch.setattr("distlenet.report.pictures.png", lambda *values: "")
