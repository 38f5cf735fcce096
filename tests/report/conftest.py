"""What the tests of the report share."""

import pytest

from distlenet.runs.ours import SOFTWARE


@pytest.fixture
def undrawn(monkeypatch):
    """Figures are made, but not painted, which takes most of the time."""
    painted = b"\x89PNG\r\n\x1a\nnot painted, by " + SOFTWARE.encode()
    monkeypatch.setattr("distlenet.report.page.as_png", lambda figure: painted)
