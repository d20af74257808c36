"""The drawing page: what is in it, and what it does in a real browser."""

import base64
import hashlib
import io
import json
import re
import shutil
import threading
from dataclasses import replace
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jax
import numpy as np
import pytest
from PIL import Image

import nnjax
from nnjax.config import TrainConfig, configs
from nnjax.recognition.digit_layout import DigitLayout, normalize_digit
from nnjax.recognition.page import draw_page

EVIL = '</script><script>document.title = "evil"</script><!--'


class Parsed(HTMLParser):
    """The scripts, styles and attributes of a page."""

    def __init__(self, html):
        super().__init__()
        self.inside, self.attributes, self._open = [], [], None
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, *a) for a in attrs]
        self._open = tag
        self.inside += [(tag, "")] * (tag in ("script", "style"))

    def handle_data(self, data):
        if self._open in ("script", "style") and self.inside:
            self.inside[-1] = (self.inside[-1][0], self.inside[-1][1] + data)

    def handle_endtag(self, tag):
        self._open = None


def test_the_page_is_one_file_that_may_load_nothing(model):
    build = Parsed(draw_page(model))
    (policy,) = (value for _, name, value in build.attributes if name == "content" and "default-src" in value)
    data, script = (content for tag, content in build.inside if tag == "script")
    (style,) = (content for tag, content in build.inside if tag == "style")
    hashes = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in (script, style)]
    assert policy == (
        f"default-src 'none'; script-src 'sha256-{hashes[0]}'; style-src 'sha256-{hashes[1]}'; "
        "base-uri 'none'; form-action 'none'"
    )
    assert not [value for _, name, value in build.attributes if name in ("src", "href")]
    assert json.loads(data)["model"]["shape"] == [8, 8]


def test_numbers_are_data_and_come_back_as_they_were(model):
    data = json.loads(Parsed(draw_page(model)).inside[1][1])["model"]
    for told, layer in zip(data["layers"], model.params, strict=True):
        w = np.frombuffer(base64.b64decode(told["w"]), "<f4").reshape(layer.w.shape)
        np.testing.assert_array_equal(w, layer.w)


def test_what_a_model_tells_of_itself_is_no_markup(model):
    html = draw_page(replace(model, dataset=EVIL))
    assert len(Parsed(html).inside) == len(Parsed(draw_page(model)).inside)
    assert "<script>document.title" not in html
    assert EVIL in json.loads(Parsed(html).inside[1][1])["model"]["about"]


@pytest.mark.slow
def test_the_chapter_s_wide_network_takes_less_than_a_megabyte(tmp_path):
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (200, 28, 28), np.uint8), np.arange(200) % 10
    data = nnjax.Dataset.from_arrays(train=(images, labels), validation=(images, labels))
    nnjax.save_model(tmp_path / "m", nnjax.init(jax.random.key(0), (784, 100, 10)), nnjax.Objective(), data)
    assert len(draw_page(nnjax.load_model(tmp_path / "m")).encode()) < 1e6


def test_a_model_that_reads_no_digits_has_no_page(model):
    with pytest.raises(ValueError, match="does not say which digit"):
        draw_page(replace(model, num_classes=26))


def test_the_command_writes_the_page_and_opens_it(run, model, trained, digits, tmp_path, monkeypatch, capsys):
    from nnjax.cli import predict

    opened = []
    monkeypatch.setattr(predict.webbrowser, "open", lambda uri: opened.append(uri) or True)
    nnjax.save_model("m", trained, nnjax.Objective(), digits)
    assert run("draw", "m", "--output", "d.html", "--no-open") == 0
    assert opened == []
    assert (tmp_path / "d.html").read_text() == draw_page(nnjax.load_model("m"))
    assert run("draw", "m", "--output", "d.html") == 0
    assert opened == [(tmp_path / "d.html").as_uri()]
    assert run("draw", "none", "--output", "d.html") == 2
    assert "there is no model file" in capsys.readouterr().err


# In a browser

SIZES = {"desktop": (1100, 900), "phone": (375, 700)}


@pytest.fixture(scope="module")
def chromium():
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        pytest.skip("needs a browser: chromium and chromedriver are not on PATH")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    for flag in ("headless", "no-sandbox", "disable-gpu", "disable-background-networking", "hide-scrollbars"):
        options.add_argument(f"--{flag}")
    options.binary_location = shutil.which("chromium")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    yield driver
    driver.quit()


DRAWN = {
    "dense": TrainConfig(initial_weights=nnjax.lecun, hyperparameters={"learning_rate": 1.0}, epochs=10),
    "convolutional": replace(configs["best-cpu"], channels=(4, 8), hidden=(20,), distorted=None, epochs=4),
}


@pytest.fixture(scope="module", params=DRAWN)
def redrawn(request, digits, tmp_path_factory):
    """A network of images as MNIST's: the 8x8 digits at several widths, brought to its form."""
    form = DigitLayout((20, 20), False)

    def redraw(split):
        images = split.inputs.reshape(-1, 8, 8) / 255
        # Stretched to one width as they are, they would all have one again.
        wide = np.random.default_rng(0).integers(4, 12, len(images))
        images = [np.repeat(x, 8, axis=0).repeat(n, axis=1) for x, n in zip(images, wide, strict=True)]
        return np.array([normalize_digit(x, (28, 28), form) for x in images]), split.targets

    data = nnjax.Dataset.from_arrays(redraw(digits.train), redraw(digits.validation), redraw(digits.test))
    recipe = DRAWN[request.param]
    settings = recipe.settings(data)
    params = nnjax.fit(jax.random.key(1), recipe.draw(data)(jax.random.key(0)), data, **settings).params
    path = tmp_path_factory.mktemp("redrawn") / "m.safetensors"
    nnjax.save_model(path, params, settings["objective"], data)
    model = nnjax.load_model(path)
    assert model.layout == form
    return model


@pytest.fixture(params=SIZES)
def browser(request, chromium, model, tmp_path):
    """The page, open in a window of this size; errors in its scripts fail the test."""
    width, height = SIZES[request.param]
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": request.param == "phone"}
    chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    show(chromium, model, tmp_path)
    yield chromium
    assert [entry["message"] for entry in chromium.get_log("browser")] == []


def show(browser, model, folder):
    (folder / "draw.html").write_text(draw_page(model))
    browser.get((folder / "draw.html").as_uri())


def find(browser, name):
    return browser.find_element("id", name)


def stroke(browser, *points):
    """A stroke by real pointer events, through points as shares of the page's width and height."""
    from selenium.webdriver.common.action_chains import ActionChains

    pad = find(browser, "pad")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", pad)
    size = pad.size
    at = [((x - 0.5) * size["width"], (y - 0.5) * size["height"]) for x, y in points]
    chain = ActionChains(browser, duration=20).move_to_element_with_offset(pad, *at[0]).click_and_hold()
    for x, y in at[1:]:
        chain.move_to_element_with_offset(pad, x, y)
    chain.release().perform()


def draw_720(browser):
    """Three digits, too far apart to be pieces of one."""
    stroke(browser, (0.04, 0.25), (0.12, 0.25), (0.17, 0.25), (0.12, 0.5), (0.08, 0.8))
    stroke(browser, (0.42, 0.35), (0.45, 0.2), (0.5, 0.2), (0.52, 0.35), (0.43, 0.8), (0.53, 0.8))
    circle = [(0.88 + 0.07 * np.cos(t), 0.5 - 0.28 * np.sin(t)) for t in np.linspace(0, 2 * np.pi, 14)]
    stroke(browser, *circle)


def on_pad(browser):
    content = browser.execute_script("return pad.toDataURL('image/png').split(',')[1]")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))


SEEN = "return lines.flat().map((d) => [d.label, d.confidence, Array.from(d.p), Array.from(d.form)])"


def agree(browser, model):
    """The page's reading, asserted to be the one that Python makes of the same picture."""
    reading, seen = nnjax.read_picture(on_pad(browser), model), browser.execute_script(SEEN)
    assert "".join(str(label) for label, *_ in seen) == reading.text.replace("\n", "")
    np.testing.assert_allclose([p for _, p, *_ in seen], reading.confidence, atol=1e-3)
    for (*_, form), crop in zip(seen, reading.crops, strict=True):
        assert np.abs(np.reshape(form, crop.shape) - crop.astype(int)).max() <= 1
    return reading.text


@pytest.mark.slow
def test_strokes_are_read_as_python_reads_the_picture(browser, model):
    draw_720(browser)
    text = agree(browser, model)
    assert len(text) == 3
    assert f"I read {text}: 3 digits." in find(browser, "told").text
    stroke(browser, (0.5, 0.5), (0.82, 0.5))  # joins the second and third
    agree(browser, model)


REMEMBERED = """
  const told = () => [...before.known.values()].map((c) => [c.name, c.pixels.length, c.apart]).sort();
  const remembered = told();
  before.known.clear();
  read(inkOnPad(), pad.width, pad.height);
  return [remembered, told()];
"""


@pytest.mark.slow
def test_what_is_a_mark_no_longer_is_forgotten(browser):
    """The dot is large enough for a piece of the ring's line, and too small beside tall strokes."""
    circle = [(0.7 + 0.05 * np.cos(t), 0.5 - 0.14 * np.sin(t)) for t in np.linspace(0, 2 * np.pi, 14)]
    stroke(browser, *circle)
    stroke(browser, (0.69, 0.48), (0.71, 0.52))
    for x in (0.1, 0.2, 0.3):
        stroke(browser, (x, 0.2), (x, 0.78))
        remembered, anew = browser.execute_script(REMEMBERED)
        assert remembered == anew
        assert len(anew) > 0


@pytest.mark.slow
def test_a_network_of_28x28_images_that_keep_proportions_reads_the_same(browser, redrawn, tmp_path):
    show(browser, redrawn, tmp_path)
    draw_720(browser)
    agree(browser, redrawn)
    stroke(browser, (0.5, 0.5), (0.82, 0.5))
    assert agree(browser, redrawn)


@pytest.mark.slow
def test_examples_of_all_digits_are_read_as_python_reads_them(browser, model, redrawn, tmp_path):
    show(browser, redrawn, tmp_path)
    for _ in range(2):
        find(browser, "example").click()
        assert len(agree(browser, redrawn)) >= 5
    show(browser, model, tmp_path)
    for digit in "37869":
        find(browser, "clear").click()
        find(browser, "pad").send_keys(digit)
        assert len(agree(browser, model)) == 1


@pytest.mark.slow
def test_undo_clear_and_keys(browser, redrawn, tmp_path):
    show(browser, redrawn, tmp_path)
    from selenium.webdriver.common.keys import Keys

    count = "return [strokes.length, lines.flat().length]"
    draw_720(browser)
    assert browser.execute_script(count) == [3, 3]
    find(browser, "undo").click()
    assert browser.execute_script(count) == [2, 2]
    find(browser, "pad").send_keys(Keys.CONTROL, "z")
    assert browser.execute_script(count) == [1, 1]
    find(browser, "pad").send_keys("0")
    assert browser.execute_script(count) == [2, 2]
    find(browser, "pad").send_keys(Keys.ESCAPE)
    assert browser.execute_script(count) == [0, 0]
    assert find(browser, "told").text == "Nothing is drawn yet."


@pytest.mark.slow
def test_digits_and_neurons_are_chosen_by_mouse_and_keyboard(browser, model):
    from selenium.webdriver.common.keys import Keys

    find(browser, "example").click()
    digits = browser.find_elements("css selector", "#digits button")
    digits[1].click()
    label = browser.execute_script("return lines.flat()[1].label")
    assert find(browser, "which").text == f"the {label}"
    outputs = [float(e.text) for e in browser.find_elements("css selector", "#outputs .number")]
    assert np.argmax(outputs) == label
    layers = browser.execute_script("return lines.flat()[1].layers")
    assert [len(layer) for layer in layers] == [30, 10]
    np.testing.assert_allclose(outputs, layers[-1], atol=6e-4)
    neurons = browser.find_elements("css selector", ".layer button")
    assert len(neurons) == 30
    neurons[7].send_keys(Keys.ENTER)
    assert find(browser, "weights-told").text.startswith("Neuron 7 ")
    data = "const c = $('weights'); return Array.from(c.getContext('2d').getImageData(0, 0, 8, 8).data)"
    pixels = browser.execute_script(data)
    w = np.asarray(model.params[0].w[7])
    np.testing.assert_allclose(np.array(pixels[::4]), 127.5 * (1 + w / np.abs(w).max()), atol=1)


@pytest.mark.slow
def test_nothing_jumps_and_nothing_sticks_out(browser):
    names = ["told", "digits", "outputs", "layers", "weights"]
    places = f"return {names}.map((id) => $(id).getBoundingClientRect().top + scrollY)"
    before = browser.execute_script(places)
    find(browser, "example").click()
    np.testing.assert_allclose(browser.execute_script(places), before, atol=1)
    wide = browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert wide[0] <= wide[1]
    fetched = browser.execute_script("return performance.getEntriesByType('resource').length")
    assert fetched == 0


@pytest.mark.slow
def test_a_model_s_words_run_no_code(chromium, model, tmp_path):
    (tmp_path / "evil.html").write_text(draw_page(replace(model, dataset=EVIL)))
    chromium.get((tmp_path / "evil.html").as_uri())
    assert chromium.title == "Draw digits"
    assert EVIL in find(chromium, "about").text


class Asked(BaseHTTPRequestHandler):
    """Notes every request, whatever its method."""

    def handle_one_request(self):
        self.server.asked.append(self.rfile.readline().decode(errors="replace").strip())  # pyright: ignore
        self.close_connection = True


REACH_OUT = """
const [url, done] = arguments, refused = new Set();
document.addEventListener("securitypolicyviolation", event => refused.add(event.effectiveDirective));
fetch(url + "fetch", {mode: "no-cors"}).catch(() => {});
try { new WebSocket(url.replace("http", "ws") + "socket"); } catch {}
navigator.sendBeacon(url + "beacon", "x");
new Image().src = url + "image";
const add = (name, values) => document.body.append(Object.assign(document.createElement(name), values));
add("script", {src: url + "script"});
add("link", {rel: "stylesheet", href: url + "style"});
add("iframe", {src: url + "frame", name: "frame"});
add("iframe", {name: "empty"});
add("video", {src: url + "video"});
add("form", {action: url + "form", method: "post", target: "empty", id: "form"});
document.getElementById("form").submit();
setTimeout(() => done([...refused].sort()), 1500);
"""


@pytest.mark.slow
def test_the_page_reaches_no_server(chromium, model, tmp_path):
    """And without its policy it would."""
    build = draw_page(model)
    without = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", build)
    reached, refused = {}, {}
    with ThreadingHTTPServer(("127.0.0.1", 0), Asked) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name, html in {"page": build, "without": without}.items():
            server.asked = reached[name] = []  # pyright: ignore
            (tmp_path / f"{name}.html").write_text(html)
            chromium.get((tmp_path / f"{name}.html").as_uri())
            url = f"http://127.0.0.1:{server.server_address[1]}/"
            refused[name] = chromium.execute_async_script(REACH_OUT, url)
        chromium.get("about:blank")
        server.shutdown()
    chromium.get_log("browser")
    assert reached["page"] == []
    kinds = " ".join(sorted(line.split()[1] for line in set(reached["without"])))
    assert kinds == "/beacon /fetch /form /frame /image /script /socket /style /video"
    of_elements = ["form-action", "frame-src", "img-src", "media-src", "script-src-elem", "style-src-elem"]
    assert refused == {"page": ["connect-src", *of_elements], "without": []}


def test_the_page_says_what_python_says():
    """The weights of costs and the thresholds are Python's own, handed over by name."""
    from nnjax.recognition.page import build

    script = "".join((build._HERE / name).read_text() for name in ("seams.js", "reading.js"))
    for names in build._CONSTANTS.values():
        for name in names:
            if name != "DOUBTED":
                assert re.search(rf"\bC\.{name}\b", script), name
