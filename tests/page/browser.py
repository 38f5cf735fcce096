"""A real Chromium without a window, and functions that draw in it with mouse, finger or pen."""

import importlib.util
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.actions.pointer_input import PointerInput
from selenium.webdriver.support.ui import WebDriverWait

FLAGS = (
    *("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run"),
    *("disable-background-networking", "disable-component-update", "disable-sync"),
    *("use-fake-device-for-media-stream", "use-fake-ui-for-media-stream"),  # a camera that needs no permission
)
PATIENCE = 30  # seconds
AXE = ("axe_selenium_python", "axe_core_python")  # packages that hold axe-core, the checker of accessibility
RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")


def missing() -> str:
    """Return the reason why no browser can be used, or an empty string."""
    absent = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"no {' and no '.join(absent)} here (Debian: chromium, chromium-driver)" if absent else ""


def axe() -> str:
    """Return the source of axe-core, or an empty string where no package has it."""
    for name in AXE:
        spec = importlib.util.find_spec(name)
        if spec is not None:
            [path] = Path(spec.origin).parent.rglob("axe.min.js")
            return path.read_text(encoding="utf-8")
    return ""


@contextmanager
def chromium(profile: str) -> Iterator[webdriver.Chrome]:
    """A browser whose profile is the new folder ``profile``."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in FLAGS:
        options.add_argument(f"--{flag}")
    options.add_argument(f"--user-data-dir={profile}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = Service(shutil.which("chromedriver"), log_output=subprocess.DEVNULL)
    driver = webdriver.Chrome(options, service)
    try:
        driver.set_page_load_timeout(PATIENCE)
        driver.set_script_timeout(PATIENCE)
        yield driver
    finally:
        driver.quit()


class Page:
    """The page in a browser's tab, as a user sees it."""

    def __init__(self, driver: webdriver.Chrome, url: str) -> None:
        self.driver = driver
        driver.get(url)

    def run(self, script: str, *values: object) -> object:
        """Run JavaScript in the page, ``values`` being its arguments."""
        return self.driver.execute_script(script, *values)

    def element(self, name: str) -> object:
        """Return the element with that id."""
        return self.driver.find_element("id", name)

    def text(self, name: str) -> str:
        """Return the text of the element with that id."""
        return self.element(name).text

    def press(self, strokes: list, kind: str = "mouse", lift: bool = True) -> None:
        """Draw ``strokes`` [[x, y], ...], the field being 0, 0 to 1, 1, by real pointer events."""
        for stroke in strokes:
            hand = ActionBuilder(self.driver, mouse=PointerInput(kind, kind), duration=0)
            places = self._on_screen(stroke)
            hand.pointer_action.move_to_location(*places[0]).pointer_down()
            for place in places[1:]:
                hand.pointer_action.move_to_location(*place)
            if lift:
                hand.pointer_action.pointer_up()
            hand.perform()

    def press_together(self, one: list, other: list) -> None:
        """Draw two strokes of as many points at once, with two fingers."""
        first, second = PointerInput("touch", "one"), PointerInput("touch", "two")
        hands = ActionBuilder(self.driver, mouse=first, duration=0)
        hands.devices.append(second)
        for finger, stroke in ((first, one), (second, other)):
            places = self._on_screen(stroke)
            for number, place in enumerate(places):
                finger.create_pointer_move(0, *place, origin="viewport")
                if number == 0:
                    finger.create_pointer_down(button=0)
            finger.create_pointer_up(0)
        hands.perform()

    def lift(self) -> None:
        """End a stroke that was drawn without."""
        hand = ActionBuilder(self.driver, mouse=PointerInput("mouse", "mouse"), duration=0)
        hand.pointer_action.pointer_up()
        hand.perform()

    def _on_screen(self, stroke: list) -> list[tuple[int, int]]:
        left, top, side = self.run(
            "const r = document.getElementById('field').getBoundingClientRect(); return [r.left, r.top, r.width]"
        )
        return [(round(left + side * x), round(top + side * y)) for x, y in stroke]

    def answer(self, act: object) -> str:
        """Call ``act`` and return the text that the page then announces: the final answer, or an error."""
        self.run("document.getElementById('spoken').textContent = ''")
        act()
        return self.wait_for(lambda: self.run("return document.getElementById('spoken').textContent"))

    def draw(self, strokes: list, kind: str = "mouse") -> str:
        """Draw ``strokes``, each after the answer to the previous one; return the last answer."""
        return [self.answer(lambda: self.press([stroke], kind)) for stroke in strokes][-1]  # noqa: B023

    def wait_for(self, condition: object) -> object:
        """Return what ``condition()`` returns, once that is true."""
        return WebDriverWait(self.driver, PATIENCE, poll_frequency=0.02).until(lambda _: condition())

    def ink(self) -> int:
        """Return the number of inked pixels of the field."""
        return self.run(
            "const field = document.getElementById('field');"
            "const data = field.getContext('2d').getImageData(0, 0, field.width, field.height).data;"
            "let inked = 0; for (let i = 3; i < data.length; i += 4) inked += data[i] > 0; return inked"
        )

    def lit(self) -> list[int]:
        """Return for each layer the number of lit pixels."""
        return self.run(
            "return [...document.querySelectorAll('.layer')].map(layer => [...layer.querySelectorAll('canvas')]"
            ".map(c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.filter((v, i) => i % 4 == 3 && v)"
            ".length).reduce((a, b) => a + b))"
        )

    def bars(self) -> dict[str, float]:
        """Return the length of each class's bar as a share of the longest possible."""
        return dict(
            self.run(
                "return [...document.querySelectorAll('.bars li')].map(row => [row.querySelector('.name').textContent,"
                "Number(row.querySelector('.bar span').style.transform.slice(7, -1))])"
            )
        )

    def barriers(self) -> list[str]:
        """Return what axe-core finds wrong with the page as it is now: the rule, then the elements."""
        if not self.run("return Boolean(window.axe)"):
            self.run(axe())
        found = self.driver.execute_async_script(
            "const done = arguments[1];"
            "axe.run({runOnly: arguments[0], resultTypes: ['violations']}).then(found => done(found.violations))",
            RULES,
        )
        return [f"{rule['id']}: {node['html']} {node['failureSummary']}" for rule in found for node in rule["nodes"]]

    def size(self, width: int, height: int, scheme: str = "light") -> None:
        """Make the window as large as a screen of ``width`` x ``height``, a phone's if that is narrow."""
        phone = width < 500
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 2 if phone else 1, "mobile": phone},
        )
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
