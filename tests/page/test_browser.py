"""The page in a real browser: drawn on, undone, cleared, given pictures, by mouse, finger and pen."""

import io

import numpy as np
import pytest
from pens import strokes_of

pytest.importorskip("flask", reason="the drawing page needs distlenet[draw]")
pytest.importorskip("waitress", reason="the drawing page needs distlenet[draw]")
pytest.importorskip("selenium", reason="the page's tests in a browser need selenium")
Image = pytest.importorskip("PIL.Image", reason="reading pictures needs distlenet[pictures]")

import browser
from served import Prefixed

from distlenet.data.sources.drawing import draw_digits

pytestmark = pytest.mark.skipif(bool(browser.missing()), reason=browser.missing() or "-")

HOLD_FETCH = """
    const real = window.fetch;
    window.held = [];
    window.sent = [];
    window.fetch = (url, options) => {
        window.sent.push(options.body);
        const {signal, ...rest} = options;  // an answer that comes although nobody waits for it
        return real(url, rest).then(response => new Promise(go => window.held.push(() => go(response))));
    };
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    with browser.chromium(str(tmp_path_factory.mktemp("chromium"))) as driver:
        yield driver


@pytest.fixture
def page(driver, served):
    page = browser.Page(driver, served.url)
    page.size(1280, 800)
    yield page
    entries = [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
    assert [message for message in entries if "status of 422" not in message] == []


@pytest.fixture
def picture(tmp_path):
    """A file that shows a 7, light on dark."""
    pixels = np.full((120, 90), 20, np.uint8)
    pixels[20:30, 20:70] = 240
    for row in range(30, 100):
        column = 65 - row // 3
        pixels[row, column - 5 : column + 5] = 240
    path = tmp_path / "seven.png"
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize(
    ("size", "place", "every", "kind"),
    [
        (0.6, (0.5, 0.5), 3, "mouse"),
        (0.95, (0.5, 0.5), 6, "touch"),  # huge
        (0.13, (0.12, 0.88), 6, "pen"),  # tiny, in a corner
        (0.4, (0.75, 0.3), 9, "touch"),  # fast: few points
        (0.3, (0.25, 0.6), 2, "pen"),  # slow
    ],
)
def test_all_digits(page, size, place, every, kind):
    read = ""
    for digit in range(10):
        read += page.draw(strokes_of(digit, size, place, every), kind)[0]
        assert page.text("label") == read[-1]
        page.element("clear").click()
    assert read == "0123456789"


def test_what_an_answer_shows(page):
    assert page.text("sentence") == "The answer comes while you draw."
    assert set(page.bars().values()) == {0}
    assert not any(page.lit())
    spoken = page.draw(strokes_of(3, every=4))
    assert spoken == f"3, {page.text('probability')}"
    bars = page.bars()
    assert list(bars) == list("0123456789")
    assert max(bars, key=bars.get) == "3"
    assert sum(bars.values()) == pytest.approx(1, abs=1e-3)
    assert len(page.lit()) == 7 and all(page.lit())
    assert page.text("sentence") == ""
    seen = page.run(
        "const c = document.getElementById('seen'); const d = c.getContext('2d').getImageData(0, 0, 28, 28).data;"
        "return [...d].filter((v, i) => i % 4 == 3)"
    )
    rows, columns = np.nonzero(np.reshape(seen, (28, 28)) > np.int64(100))
    assert 18 <= rows.max() - rows.min() + 1 <= 22
    assert abs(columns.mean() - 14) < 3


def test_answers_come_while_drawing(page):
    first, rest = strokes_of(7, every=3)[0][:-6], strokes_of(7, every=3)[0][-6:]
    page.press([first], lift=False)
    page.wait_for(lambda: page.text("label"))
    page.press([rest], lift=False)
    page.lift()
    assert page.wait_for(lambda: page.text("label") == "7")


def test_undo_and_clear(page):
    undo, clear = page.element("undo"), page.element("clear")
    assert not undo.is_enabled() and not clear.is_enabled()
    one, other = [[[0.35, 0.2], [0.35, 0.8]], [[0.35, 0.8], [0.75, 0.8]]]
    alone = page.draw([one])
    inked = page.ink()
    both = page.draw([other])
    assert page.ink() > inked and both != alone
    assert page.answer(undo.click) == alone
    assert page.ink() == pytest.approx(inked, rel=0.01)
    assert page.answer(clear.click) == "The drawing field is empty."
    assert page.ink() == 0 and not any(page.lit()) and page.text("label") == ""
    assert page.text("sentence") == "The answer comes while you draw."
    assert page.answer(undo.click) == alone  # clearing can be undone
    assert page.ink() == pytest.approx(inked, rel=0.01)
    assert page.answer(undo.click) == "The drawing field is empty."
    assert not undo.is_enabled() and not clear.is_enabled()


def test_keys(page):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    def key(*keys):
        chain = ActionChains(page.driver)
        for one in keys[:-1]:
            chain.key_down(one)
        chain.send_keys(keys[-1])
        for one in keys[:-1]:
            chain.key_up(one)
        chain.perform()

    answer = page.draw(strokes_of(2, every=4))
    inked = page.ink()
    page.draw([[[0.1, 0.1], [0.9, 0.9]]])
    assert page.answer(lambda: key(Keys.CONTROL, "z")) == answer
    assert page.ink() == pytest.approx(inked, rel=0.01)
    page.answer(lambda: key(Keys.ESCAPE))
    assert page.ink() == 0
    assert page.answer(lambda: key(Keys.CONTROL, "z")) == answer
    reached = []
    for _ in range(6):
        key(Keys.TAB)
        reached.append(page.run("return document.activeElement.id"))
        outline = "const a = document.activeElement; return getComputedStyle(a.id == 'file' ? a.nextElementSibling : a)"
        assert page.run(outline + ".outlineWidth") == "3px"  # one sees where one is
    assert reached == ["undo", "clear", "file", "photograph", "several", "width"]


def test_pen_width(page):
    page.draw(strokes_of(1, every=9))
    thin = page.ink()
    page.answer(
        lambda: page.run(
            "const width = document.getElementById('width'); width.value = 14;"
            "width.dispatchEvent(new Event('input', {bubbles: true}))"
        )
    )
    assert page.ink() > 1.5 * thin
    assert page.text("label") == "1"


def test_a_dot_gets_a_sentence(page):
    assert page.draw([[[0.5, 0.5], [0.5, 0.5]]]) == "There is only a dot: draw more of it."
    assert page.ink() > 50
    assert page.text("sentence").startswith("There is only a dot")
    assert page.text("label") == ""
    assert page.draw(strokes_of(0, every=4))[0] == "0"
    assert page.text("sentence") == ""


def test_two_fingers_at_once(page):
    """Each finger has a stroke of its own: the two bars of an 11 are not joined by a line."""
    down = [[0.3, 0.2 + 0.06 * i] for i in range(11)]
    up = [[0.7, 0.8 - 0.06 * i] for i in range(11)]
    page.answer(lambda: page.press_together(down, up))
    middle = page.run(
        "const f = document.getElementById('field'); const s = f.width;"
        "return f.getContext('2d').getImageData(s * 0.4, 0, s * 0.2, s).data.some(v => v > 0)"
    )
    assert not middle
    page.answer(page.element("undo").click)
    assert page.ink() > 0
    page.answer(page.element("undo").click)
    assert page.ink() == 0


def test_a_stroke_may_leave_the_field(page):
    page.press([[[0.5, 0.5], [0.5, -0.02], [-0.05, 0.5]]], lift=False)
    page.press([[[-0.05, 0.9], [0.5, 0.9]]], lift=False)
    page.answer(page.lift)
    assert page.text("label")


def test_every_point_of_a_fast_stroke_counts(page):
    """Between two frames a browser joins moves into one event, which has them all as coalesced events."""
    page.run(HOLD_FETCH)
    page.press([[[0.3, 0.2], [0.32, 0.2]]], lift=False)
    page.run(
        "const f = document.getElementById('field'), r = f.getBoundingClientRect();"
        "const at = (x, y) => ({pointerId: 1, clientX: r.left + x * r.width, clientY: r.top + y * r.height});"
        "const part = (x, y) => new PointerEvent('pointermove', at(x, y));"
        "f.dispatchEvent(new PointerEvent('pointermove', {...at(.3, .8),"
        " coalescedEvents: [part(.7, .2), part(.7, .8), part(.3, .8)]}))"
    )
    page.lift()
    page.wait_for(lambda: page.run("window.held.splice(0).forEach(go => go()); return window.sent.length > 1"))
    points = page.run("return JSON.parse(window.sent.at(-1)).strokes[0]")
    corners = [round(value, 1) for value in points[-8:-2]]  # the last is where the pen was lifted
    assert corners == [0.7, 0.2, 0.7, 0.8, 0.3, 0.8]


def test_an_answer_that_comes_too_late_is_dropped(page):
    page.run(HOLD_FETCH)
    page.press(strokes_of(1, every=9))
    page.wait_for(lambda: page.run("return window.held.length === 1"))
    page.element("clear").click()
    page.press(strokes_of(0, every=5))
    page.wait_for(lambda: page.run("return window.held.length === 2"))
    page.run("window.late = window.held.shift()")  # the second answer overtakes the first
    page.wait_for(lambda: page.run("window.held.splice(0).forEach(go => go())") or page.text("label") == "0")
    page.wait_for(lambda: page.run("window.held.splice(0).forEach(go => go())") or page.text("spoken")[:1] == "0")
    page.run("window.late()")
    page.run("return new Promise(done => setTimeout(done, 100))")
    assert page.text("label") == "0"


def test_questions_do_not_pile_up(page):
    """While an answer is awaited, the drawing continues, and one question is asked about all of it."""
    page.run(HOLD_FETCH)
    page.press(strokes_of(8, every=1))
    page.wait_for(lambda: page.run("return window.held.length === 1"))
    assert page.run("return window.sent.length") == 1
    page.run("window.held.shift()()")
    page.wait_for(lambda: page.run("return window.sent.length") == 2)
    page.run("window.held.shift()?.()")
    assert page.run("return JSON.parse(window.sent[1]).strokes[0].length") > 100


@pytest.mark.parametrize(
    ("error", "words"), [("TypeError('gone')", "still running"), ("DOMException('', 'TimeoutError')", "busy")]
)
def test_the_server_has_ended_or_is_slow(page, error, words):
    page.run(f"window.fetch = () => Promise.reject(new {error})")
    page.draw([[[0.5, 0.2], [0.5, 0.8]]])
    assert words in page.text("sentence")


def test_upload(page, picture):
    assert page.answer(lambda: page.element("file").send_keys(str(picture)))[0] == "7"
    assert page.ink() > 1000
    assert not page.element("invitation").is_displayed()
    assert page.draw([[[0.5, 0.2], [0.5, 0.8]]])[0] == "1"  # drawing takes the picture's place
    assert page.answer(page.element("undo").click)[0] == "7"
    page.element("clear").click()
    assert page.ink() == 0


def number(page, text="314", size=0.3):
    """Draw the digits of ``text`` side by side."""
    for place, digit in enumerate(text):
        across = (place + 0.5) / len(text)
        page.draw(strokes_of(int(digit), size, (across, 0.5), every=4))


def test_several_digits(page):
    page.element("several").click()
    number(page)
    assert page.text("label") == "314" and page.text("probability") == "3 digits"
    chips = page.element("digits").find_elements("tag name", "button")
    assert [chip.find_element("tag name", "b").text for chip in chips] == list("314")
    for chip, digit in zip(chips, "314", strict=True):
        chip.click()
        assert chip.get_attribute("aria-pressed") == "true"
        bars = page.bars()
        assert max(bars, key=bars.get) == digit
    assert page.answer(page.element("undo").click) in ("3 1 4, 3 digits", "3 1, 2 digits", "3 1 6, 3 digits")
    page.element("clear").click()
    assert not page.element("digits").is_displayed() and page.text("label") == ""
    page.element("several").click()
    assert page.draw(strokes_of(7, every=4)).startswith("7, ")


def test_several_digits_where_one_is_expected(page, tmp_path):
    number(page, "27")
    assert "looks like 2 digits" in page.text("sentence")
    assert page.answer(page.element("all").click) == "2 7, 2 digits"
    assert page.element("several").is_selected() and not page.element("all").is_displayed()
    page.element("several").click()
    images, _ = draw_digits(5, seed=5)
    row = 255 - np.hstack([np.pad(image, 10) for image in images])
    Image.fromarray(row).resize((720, 144)).save(tmp_path / "row.png")
    page.answer(lambda: page.element("file").send_keys(str(tmp_path / "row.png")))
    assert "looks like 5 digits" in page.text("sentence")
    assert page.answer(page.element("all").click).endswith(", 5 digits")
    page.element("several").click()


def test_no_certainty_is_claimed(page):
    page.draw(strokes_of(3, every=4))
    shares = [page.text("probability"), *(node.text for node in page.driver.find_elements("class name", "share"))]
    assert not any("100" in share for share in shares), shares


def test_it_works_below_the_path_of_a_proxy(driver, served):
    """As a notebook's proxy shows it: all addresses are relative."""
    with Prefixed(served.url, "/user/me/proxy/8028") as url:
        page = browser.Page(driver, url)
        assert page.draw(strokes_of(3, every=4))[0] == "3"


def test_bad_uploads(page, tmp_path):
    blank, text = tmp_path / "blank.png", tmp_path / "text.txt"
    Image.new("L", (50, 60), 255).save(blank)
    text.write_text("no picture")
    assert "blank" in page.answer(lambda: page.element("file").send_keys(str(blank)))
    assert page.text("label") == "" and "blank" in page.text("sentence")
    assert "not a picture" in page.answer(lambda: page.element("file").send_keys(str(text)))
    page.run("document.body.dataset.largest = 5")
    assert page.draw(strokes_of(6, every=4))[0] == "6"


@pytest.mark.parametrize("event", ["drop", "paste"])
def test_drop_and_paste(page, picture, event):
    file = io.BytesIO(picture.read_bytes()).getvalue()
    script = (
        "const data = new DataTransfer();"
        "data.items.add(new File([new Uint8Array(arguments[0])], 'x.png', {type: 'image/png'}));"
        "const event = arguments[1] === 'drop' ? new DragEvent('drop', {dataTransfer: data, bubbles: true})"
        " : new ClipboardEvent('paste', {clipboardData: data, bubbles: true});"
        "document.body.dispatchEvent(event)"
    )
    assert page.answer(lambda: page.run(script, list(file), event))[0] == "7"


def test_text_is_refused_and_the_reading_stays(page):
    page.draw(strokes_of(4, every=4))
    script = (
        "const data = new DataTransfer(); data.setData('text/plain', 'x');"
        "const event = arguments[0] === 'drop' ? new DragEvent('drop', {dataTransfer: data, bubbles: true})"
        " : new ClipboardEvent('paste', {clipboardData: data, bubbles: true});"
        "document.body.dispatchEvent(event)"
    )
    for event, words in (("drop", "only files"), ("paste", "no picture")):
        assert words in page.answer(lambda: page.run(script, event))  # noqa: B023
        assert words in page.text("sentence") and page.text("label") == "4"


def test_a_picture_from_the_camera_by_keyboard_alone(page):
    from selenium.webdriver.common.keys import Keys

    def press(key):
        page.driver.switch_to.active_element.send_keys(key)

    page.run("document.getElementById('photograph').focus()")
    for _ in range(2):  # Escape closes it, and clears nothing
        press(Keys.ENTER)
        page.wait_for(lambda: page.run("return document.activeElement.id") == "take")
        assert page.run("return document.getElementById('live').videoWidth") > 0
        press(Keys.ESCAPE)
        page.wait_for(lambda: page.run("return document.activeElement.id") == "photograph")
        assert page.run("return document.getElementById('live').srcObject") is None  # the camera is off
    press(Keys.ENTER)
    page.wait_for(page.element("take").is_enabled)
    assert page.answer(lambda: press(Keys.ENTER))  # the fake camera shows a green clock
    assert page.ink() > 1000 and page.element("undo").is_enabled()
    assert page.run("return document.activeElement.id") == "photograph"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("Object.defineProperty(navigator, 'mediaDevices', {value: undefined})", "only on localhost and over https"),
        (
            "navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', 'NotAllowedError') }",
            "allow it",
        ),
        (
            "navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', 'NotFoundError') }",
            "No camera",
        ),
        ("navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', 'Other') }", r"(Other)"),
    ],
)
def test_why_there_is_no_camera(page, change, words):
    page.run(change)
    assert words in page.answer(page.element("photograph").click)
    assert words in page.text("sentence") and not page.run("return document.getElementById('camera').open")


def test_a_phone_without_https_opens_its_own_camera(page):
    page.size(375, 667)
    page.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    try:
        page.run(
            "Object.defineProperty(navigator, 'mediaDevices', {value: undefined});"
            "document.getElementById('snapshot').onclick = () => { window.asked = true; return false }"
        )
        page.element("photograph").click()
        assert page.run("return window.asked") and page.text("spoken") == ""
    finally:
        page.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})


def test_a_picture_that_the_browser_cannot_show_is_named(page, tmp_path):
    Image.new("L", (40, 60), 255).save(tmp_path / "scan.tif")
    assert "blank" in page.answer(lambda: page.element("file").send_keys(str(tmp_path / "scan.tif")))
    assert page.ink() > 100  # the name of the file


def test_two_tabs(page, served):
    """Each tab has its own drawing."""
    driver = page.driver
    first = driver.current_window_handle
    page.draw(strokes_of(4, every=4))
    driver.switch_to.new_window("tab")
    try:
        other = browser.Page(driver, served.url)
        assert other.ink() == 0
        assert other.draw(strokes_of(9, every=4))[0] == "9"
        driver.switch_to.window(first)
        assert page.text("label") == "4"
        assert page.draw([[[0.9, 0.9], [0.9, 0.91]]])[0] == "4"
    finally:
        for handle in driver.window_handles:
            if handle != first:
                driver.switch_to.window(handle)
                driver.close()
        driver.switch_to.window(first)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(375, 667), (320, 568), (768, 1024), (1280, 800)])
def test_it_fits_the_screen(page, width, height, scheme):
    page.size(width, height, scheme)
    page.draw(strokes_of(5, every=6), "touch" if width < 500 else "mouse")
    assert page.run("return document.documentElement.scrollWidth") <= width
    bottom = page.run("return document.getElementById('label').getBoundingClientRect().bottom")
    assert bottom <= height  # the answer is in view while one draws
    for name in ("undo", "clear"):
        box = page.element(name).rect
        assert min(box["width"], box["height"]) >= 44
    colours = page.run(CONTRASTS)
    assert min(colours.values()) >= 4.5, colours


CONTRASTS = """
    const light = colour => {
        const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255)
            .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = node => {
        const own = getComputedStyle(node).backgroundColor;
        return /, 0\\)$/.test(own) ? ground(node.parentElement) : own;
    };
    const found = {};
    const texts = "h1, header p, #label, #probability, figcaption, .share, .name, button, .button, .legend span";
    for (const node of document.querySelectorAll(texts)) {
        const [a, b] = [light(getComputedStyle(node).color), light(ground(node))].sort((x, y) => y - x);
        found[node.id || node.className || node.tagName] = (a + 0.05) / (b + 0.05);
    }
    return found;
"""


def test_everything_has_a_name(page):
    """What a screen reader reads: every control and picture has a label, headings and a live region are there."""
    nameless = page.run(
        "return [...document.querySelectorAll('button, input, canvas[role], section, ol')]"
        ".filter(node => !(node.ariaLabel || node.textContent.trim() || node.labels?.length"
        " || node.getAttribute('aria-labelledby'))).map(node => node.outerHTML)"
    )
    assert nameless == []
    assert page.run("return document.documentElement.lang") == "en"
    assert page.run("return document.getElementById('spoken').getAttribute('role')") == "status"
    unnamed = page.run(
        "return [...document.querySelectorAll('canvas')].filter(c => !c.ariaLabel && !c.closest('[aria-hidden=true]'))"
        ".length"
    )
    assert unnamed == 0


@pytest.mark.skipif(not browser.axe(), reason="axe-core is not installed: it is in the extra dev")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1280])
def test_no_barriers(page, width, scheme):
    """What axe-core finds, in every state of the page."""
    page.size(width, 800, scheme)
    found = {"empty": page.barriers()}
    page.draw([[[0.5, 0.5], [0.5, 0.5]]])
    found["error"] = page.barriers()
    number(page, "27")
    found["one of two"] = page.barriers()
    page.answer(page.element("all").click)
    found["several"] = page.barriers()
    page.element("photograph").click()
    page.wait_for(page.element("take").is_enabled)
    found["camera"] = page.barriers()
    page.element("leave").click()
    assert found == {state: [] for state in found}


def test_the_policy_holds(page):
    """A script or style written into the page does not run."""
    page.run(
        "const s = document.createElement('script'); s.textContent = 'window.evil = 1'; document.body.append(s);"
        "const b = document.createElement('button'); b.setAttribute('onclick', 'window.evil = 2');"
        "document.body.append(b); b.click()"
    )
    assert page.run("return window.evil") is None
    entries = [entry["message"] for entry in page.driver.get_log("browser")]
    assert entries and all("Content Security Policy" in message for message in entries)
