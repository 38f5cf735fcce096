"""The report in a real browser: it fits every width, follows the scheme of colours, and is printed in light ones."""

import pytest

pytest.importorskip("selenium", reason="tests in a browser need selenium")
pytest.importorskip("matplotlib", reason="the extra `report` (matplotlib) is not installed")

import browser

from distlenet.report.run import write_report

pytestmark = pytest.mark.skipif(bool(browser.missing()), reason=browser.missing() or "-")

SEEN = """
    const colour = (name, what) => getComputedStyle(document.querySelector(name))[what];
    return {width: document.documentElement.scrollWidth,
            broken: [...document.images].filter(image => !image.naturalWidth).length,
            ground: colour('section', 'backgroundColor'), text: colour('section', 'color'),
            label: colour('svg text', 'fill'), scheme: colour('html', 'colorScheme'),
            hidden: [...document.querySelectorAll('nav')].filter(e => getComputedStyle(e).display == 'none').length}
"""
LIGHT, DARK = ("rgb(255, 255, 255)", "rgb(27, 31, 36)"), ("rgb(27, 31, 36)", "rgb(232, 235, 238)")


def test_it_fits_every_width_in_both_schemes_and_is_printed_in_light_colours(trained, digits, tmp_path):
    path = write_report(trained, digits, digits, tmp_path / "report").page
    with browser.chromium(str(tmp_path / "profile")) as driver:
        page = browser.Page(driver, path.as_uri())
        for width in (360, 768, 1400):
            for scheme, colours in (("light", LIGHT), ("dark", DARK)):
                page.size(width, 800, scheme)
                seen = page.run(SEEN)
                assert seen["width"] <= width and seen["broken"] == 0, (width, seen)
                assert (seen["ground"], seen["text"]) == colours and seen["scheme"] == scheme
                assert seen["label"] != seen["ground"] and seen["hidden"] == 0
                if width == 360 and browser.axe():
                    assert page.barriers() == []
        feature = {"name": "prefers-color-scheme", "value": "dark"}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": [feature]})
        seen = page.run(SEEN)
        assert (seen["ground"], seen["text"]) == LIGHT and seen["hidden"] == 1
        assert [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"] == []
