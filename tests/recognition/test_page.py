"""The drawing page: its content, and its behavior in a real browser."""

import base64
import hashlib
import io
import json
import re
import threading
from dataclasses import replace
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jax
import numpy as np
import pytest
from PIL import Image

import nnjax
from nnjax.recognition import classify, digit_probability, open_picture
from nnjax.recognition.digit_layout import DigitLayout, infer_layout, normalize_digit
from nnjax.recognition.page import build, draw_page
from nnjax.recognition.reading import recognize, to_reading
from nnjax.recognition.rejection import MIN_CLASSIFIED, adapted_probabilities, is_digit
from nnjax.storage.model_file import Calibration

INJECTION = '</script><script>document.title = "injected"</script><!--'


class ParsedPage(HTMLParser):
    """The scripts, styles and attributes of a page."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.attributes, self._open = [], [], None
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, *attribute) for attribute in attrs]
        self._open = tag
        self.elements += [(tag, "")] * (tag in ("script", "style"))

    def handle_data(self, data):
        if self._open in ("script", "style") and self.elements:
            self.elements[-1] = (self.elements[-1][0], self.elements[-1][1] + data)

    def handle_endtag(self, tag):
        self._open = None

    @property
    def data(self):
        """The JSON values that the page contains."""
        return json.loads(next(content for tag, content in self.elements if tag == "script"))


def test_the_policy_allows_only_the_page_s_script_and_style(model):
    page = ParsedPage(draw_page(model))
    (policy,) = (value for _, name, value in page.attributes if name == "content" and "default-src" in value)
    _, script = (content for tag, content in page.elements if tag == "script")
    (style,) = (content for tag, content in page.elements if tag == "style")
    hashes = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in (script, style)]
    assert policy == (
        f"default-src 'none'; script-src 'sha256-{hashes[0]}'; style-src 'sha256-{hashes[1]}'; "
        "base-uri 'none'; form-action 'none'"
    )
    assert not [value for _, name, value in page.attributes if name in ("src", "href")]


def test_the_page_contains_the_exact_weights(model):
    data = ParsedPage(draw_page(model)).data["model"]
    assert data["imageShape"] == [8, 8]
    for layer_data, layer in zip(data["layers"], model.params, strict=True):
        w = np.frombuffer(base64.b64decode(layer_data["w"]), "<f4").reshape(layer.w.shape)
        np.testing.assert_array_equal(w, layer.w)


def test_markup_in_a_model_s_metadata_is_escaped(model):
    html = draw_page(replace(model, dataset=INJECTION))
    assert len(ParsedPage(html).elements) == len(ParsedPage(draw_page(model)).elements)
    assert "<script>document.title" not in html
    assert INJECTION in ParsedPage(html).data["model"]["description"]


def test_the_page_of_a_network_with_100_hidden_neurons_is_smaller_than_a_megabyte(model):
    zeros = np.zeros
    mnist_model = replace(
        model,
        params=(nnjax.Layer(zeros((100, 784)), zeros(100)), nnjax.Layer(zeros((10, 100)), zeros(10))),
        input_shape=(28, 28),
        layout=DigitLayout((20, 20), False),
    )
    assert 400_000 < len(draw_page(mnist_model).encode()) < 1e6


def test_a_model_that_does_not_recognize_digits_has_no_page(model):
    with pytest.raises(ValueError, match="must predict one of at most 10 digits"):
        draw_page(replace(model, num_classes=26))


def test_the_scripts_use_every_constant_and_no_other():
    scripts = "".join((build._HERE / name).read_text("utf-8") for name in build._SCRIPTS)
    passed = {name for names in build._CONSTANTS.values() for name in names}
    destructured = re.findall(r"const \{([A-Z_, ]+)\} = constants;", scripts)
    used = set(re.findall(r"\bconstants\.(\w+)", scripts))
    used |= {name.strip() for names in destructured for name in names.split(",")}
    assert used == passed


def test_all_scripts_and_only_these_are_in_the_page():
    assert sorted(build._SCRIPTS) == sorted(path.name for path in build._HERE.glob("*.js"))


def test_the_command_writes_the_page_and_opens_it(run, model, trained, digits, tmp_path, monkeypatch, capsys):
    from nnjax.cli import draw

    opened = []
    monkeypatch.setattr(draw.webbrowser, "open", lambda uri: opened.append(uri) or True)
    calibration = Calibration(model.layout, model.temperature)
    nnjax.save_model("m", trained, nnjax.Objective(), digits, calibration=calibration)
    assert run("draw", "m", "--output", "d.html", "--no-open") == 0
    assert opened == []
    assert (tmp_path / "d.html").read_text() == draw_page(nnjax.load_model("m"))
    assert run("draw", "m", "--output", "d.html") == 0
    assert opened == [(tmp_path / "d.html").as_uri()]
    assert run("draw", "none", "--output", "d.html") == 2
    assert "'none'" in capsys.readouterr().err


# In a browser

WINDOWS = {"desktop": (1100, 900), "phone": (375, 700)}


CONFIGS = {
    "dense": nnjax.TrainConfig(initial_weights=nnjax.lecun, learning_rate=1.0, epochs=10),
    "convolutional": replace(
        nnjax.configs["best-cpu"], channels=(4, 8), hidden=(20,), augment=None, epochs=2
    ),
}


@pytest.fixture(scope="module", params=CONFIGS)
def model28(request, digits, tmp_path_factory):
    """A network for images in MNIST's layout, made from the 8x8 digits."""
    layout = DigitLayout((20, 20), False)

    def to_mnist_layout(split):
        images = split.inputs.reshape(-1, 8, 8) / 255
        # Of different widths, because the 8x8 digits are all stretched to the same width.
        widths = np.random.default_rng(0).integers(4, 12, len(images))
        images = [np.repeat(x, 8, axis=0).repeat(n, axis=1) for x, n in zip(images, widths, strict=True)]
        return np.array([normalize_digit(x, (28, 28), layout) for x in images]), split.targets

    splits = (to_mnist_layout(split) for split in (digits.train, digits.validation, digits.test))
    data, config = nnjax.Dataset.from_arrays(*splits), CONFIGS[request.param]
    params, objective = config.fit(jax.random.key(1), data).params, config.objective(data)
    assert infer_layout(data.train.inputs.reshape(-1, 28, 28)) == layout
    calibration = Calibration(layout, 1.5)  # a fitted temperature takes long to compile
    path = tmp_path_factory.mktemp("model28") / "m.safetensors"
    nnjax.save_model(path, params, objective, data, calibration=calibration)
    return nnjax.load_model(path)


@pytest.fixture(params=WINDOWS)
def browser(request, chromium, model, tmp_path):
    """The page in a window of this size; errors in its scripts fail the test."""
    width, height = WINDOWS[request.param]
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": request.param == "phone"}
    chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    open_page(chromium, model, tmp_path)
    yield chromium
    assert [entry["message"] for entry in chromium.get_log("browser")] == []


def open_page(browser, model, folder):
    (folder / "draw.html").write_text(draw_page(model))
    browser.get((folder / "draw.html").as_uri())


def element(browser, name):
    return browser.find_element("id", name)


def draw_stroke(browser, *points):
    """Draws a stroke with real pointer events; points are fractions of the canvas's width and height."""
    from selenium.webdriver.common.action_chains import ActionChains

    canvas = element(browser, "drawing")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
    size = canvas.size
    offsets = [((x - 0.5) * size["width"], (y - 0.5) * size["height"]) for x, y in points]
    chain = ActionChains(browser, duration=20)
    chain.move_to_element_with_offset(canvas, *offsets[0]).click_and_hold()
    for x, y in offsets[1:]:
        chain.move_to_element_with_offset(canvas, x, y)
    chain.release().perform()


def circle(x, y, radius_x, radius_y):
    return [(x + radius_x * np.cos(t), y - radius_y * np.sin(t)) for t in np.linspace(0, 2 * np.pi, 14)]


def draw_720(browser):
    """Draws three digits that are too far apart to be fragments of one."""
    draw_stroke(browser, (0.04, 0.25), (0.12, 0.25), (0.17, 0.25), (0.12, 0.5), (0.08, 0.8))
    draw_stroke(browser, (0.42, 0.35), (0.45, 0.2), (0.5, 0.2), (0.52, 0.35), (0.43, 0.8), (0.53, 0.8))
    draw_stroke(browser, *circle(0.88, 0.5, 0.07, 0.28))


def connect_last_two_digits(browser):
    draw_stroke(browser, (0.5, 0.5), (0.82, 0.5))


def drawing_of(browser):
    content = browser.execute_script("return drawing.toDataURL('image/png').split(',')[1]")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))


DETECTOR_IMAGES = """
  const ink = inkOfDrawing(), { width, height } = drawing, { occupied } = cache;
  return lines.flat().map((digit) => {
    const crop = normalizeDigit(cropDigit(ink, occupied, digit, width, height), digitDetector);
    return Array.from(detectorImage(crop, strokesAround(occupied, digit, width, height)));
  });
"""


def check_agrees_with_python(browser, model):
    """Asserts that the page recognizes what `read_picture` recognizes in the same drawing, and returns it.

    Images may differ by one gray level, because averages of black and white pixels are often exactly between
    two levels. Probabilities are compared for the same images.
    """
    recognition = recognize(open_picture(drawing_of(browser)), model)
    reading = to_reading(recognition)
    digits = browser.execute_script("return lines.flat()")
    assert "".join(str(digit["label"]) for digit in digits) == reading.text.replace("\n", "").replace(" ", "")
    images = np.array([digit["image"] for digit in digits], np.uint8)
    differences = np.abs(images.reshape(reading.crops.shape) - reading.crops.astype(int))
    assert differences.max() <= 1
    np.testing.assert_allclose([digit["p"] for digit in digits], classify(model, images), atol=1e-4)
    detector_images = np.array(browser.execute_script(DETECTOR_IMAGES), np.uint8).reshape(-1, 28, 28, 2)
    expected = digit_probability(detector_images)
    np.testing.assert_allclose([digit["digitProbability"] for digit in digits], expected, atol=1e-4)
    detector_differences = np.abs(detector_images - np.array(detector_images_of(recognition), int))
    assert detector_differences.max() <= 1
    confidence = np.array([digit["confidence"] for digit in digits])
    is_same = (differences.max(axis=(1, 2)) == 0) & (detector_differences.max(axis=(1, 2, 3)) == 0)
    np.testing.assert_allclose(confidence[is_same], reading.confidence[is_same], atol=1e-4)
    return reading.text


def detector_images_of(recognition):
    """What the detector saw of each digit."""
    candidates = recognition.candidates
    return [
        candidates.detector_image(part.segmentation.pixels(candidate))
        for part, sequence in zip(candidates.parts, recognition.sequences, strict=True)
        for candidate, prediction in sequence
        if is_digit(prediction)
    ]


@pytest.mark.slow
def test_the_page_adapts_probabilities_as_python_does(browser):
    for p in ([], [0.3], [0.0, 1.0], [0.9, 0.6, 0.2], [0.97] + 9 * [0.02], np.linspace(0, 1, 30).tolist()):
        adapted = browser.execute_script("return adaptedProbabilities(arguments[0])", p)
        np.testing.assert_allclose(adapted, adapted_probabilities(np.array(p)), rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_the_page_does_not_classify_what_the_detector_rejects(browser):
    """A cross."""
    prediction = browser.execute_script("""
      const isBar = (i) => Math.abs(i - 20) < 4;
      const cross = Array.from({ length: 40 }, (_, y) =>
        Float32Array.from({ length: 40 }, (_, x) => Number(isBar(x) || isBar(y))));
      return classify(cross, Array.from({ length: 56 }, () => new Float32Array(56)));
    """)
    assert prediction["digitProbability"] < MIN_CLASSIFIED
    assert prediction["p"] == 10 * [0] + [1]
    assert prediction["confidence"] == 0


@pytest.mark.slow
def test_the_page_recognizes_strokes_as_python_does(browser, model):
    draw_720(browser)
    text = check_agrees_with_python(browser, model)
    assert len(text) == 3
    assert f"Recognized {text} (3 digits)." in element(browser, "status").text
    connect_last_two_digits(browser)
    check_agrees_with_python(browser, model)


@pytest.mark.slow
def test_the_page_recognizes_28x28_digits_as_python_does(browser, model28, tmp_path):
    open_page(browser, model28, tmp_path)
    draw_720(browser)
    check_agrees_with_python(browser, model28)
    connect_last_two_digits(browser)
    assert check_agrees_with_python(browser, model28)


@pytest.mark.slow
def test_the_page_recognizes_example_digits_as_python_does(browser, model, model28, tmp_path):
    open_page(browser, model28, tmp_path)
    for _ in range(2):
        element(browser, "example").click()
        assert len(check_agrees_with_python(browser, model28)) >= 5
    open_page(browser, model, tmp_path)
    for digit in "37869":
        element(browser, "clear").click()
        element(browser, "drawing").send_keys(digit)
        assert len(check_agrees_with_python(browser, model)) == 1


@pytest.mark.slow
def test_the_page_computes_convolutions_of_every_geometry(chromium, digits, model, tmp_path):
    net = nnjax.ConvNet((8, 8), (3, 2), (1, 2), "SAME", (2, 1), output=nnjax.sigmoid)
    params = net.init(jax.random.key(0), channels=(4, 2), dense=(10,))
    network = replace(model, params=params, objective=nnjax.Objective(net))
    open_page(chromium, network, tmp_path)
    for image in digits.test.inputs[:5]:
        outputs = chromium.execute_script("return feedforward(arguments[0]).at(-1)", image.ravel().tolist())
        np.testing.assert_allclose(outputs, network(image), atol=1e-5)


CACHED_AND_NEW_CANDIDATES = """
  const summary = (c) => [c.key, c.pixels.length, c.blankColumns];
  const candidates = () => [...cache.candidates.values()].map(summary).sort();
  const confidences = (lines) => lines.flat().map((digit) => digit.confidence);
  const cached = [candidates(), confidences(lines)];
  cache.candidates.clear();
  const found = read(inkOfDrawing(), drawing.width, drawing.height);
  return [cached, [candidates(), confidences(found)]];
"""


@pytest.mark.slow
def test_cached_candidates_are_those_that_are_found_without_the_cache(browser):
    """The dot is a fragment as long as the circle alone sets the height, and a speck next to tall strokes."""
    draw_stroke(browser, *circle(0.7, 0.5, 0.05, 0.14))
    draw_stroke(browser, (0.69, 0.48), (0.71, 0.52))
    under_the_first = (0.05, 0.88), (0.16, 0.88)  # it changes only the margin of candidates above it
    for stroke in (*(((x, 0.2), (x, 0.78)) for x in (0.1, 0.2, 0.3)), under_the_first):
        draw_stroke(browser, *stroke)
        cached, new = browser.execute_script(CACHED_AND_NEW_CANDIDATES)
        assert cached == new
        assert len(new[0]) > 0


@pytest.mark.slow
def test_undo_clear_and_keys(browser, model28, tmp_path):
    from selenium.webdriver.common.keys import Keys

    open_page(browser, model28, tmp_path)
    strokes = [[(0.1, 0.2), (0.1, 0.8)], [(0.5, 0.2), (0.5, 0.8)], circle(0.88, 0.5, 0.07, 0.28)]

    def state():
        return browser.execute_script("return [strokes, lines.flat().map((d) => d.label)]")

    states = [state()]
    for points in strokes:
        draw_stroke(browser, *points)
        states.append(state())
    assert states[0] == [[], []]
    assert [len(strokes) for strokes, _ in states] == [0, 1, 2, 3]
    element(browser, "undo").click()
    assert state() == states[2]
    element(browser, "drawing").send_keys(Keys.CONTROL, "z")
    assert state() == states[1]
    element(browser, "drawing").send_keys(Keys.BACKSPACE)
    assert state() == states[0]
    element(browser, "drawing").send_keys("0")
    (example,), labels = state()
    assert len(example) > 10
    assert len(labels) == 1
    element(browser, "drawing").send_keys(Keys.ESCAPE)
    assert state() == states[0]
    assert element(browser, "status").text == "Nothing is drawn yet."


@pytest.mark.slow
def test_digits_and_neurons_are_selected_with_mouse_and_keyboard(browser, model):
    from selenium.webdriver.common.keys import Keys

    element(browser, "example").click()
    browser.find_elements("css selector", "#digits button")[1].click()
    label = browser.execute_script("return lines.flat()[1].label")
    assert element(browser, "selected-digit").text == f"the {label}"
    outputs = [float(e.text) for e in browser.find_elements("css selector", "#outputs .number")]
    assert np.argmax(outputs) == label
    layers = browser.execute_script("return lines.flat()[1].layers")
    assert [len(layer) for layer in layers] == [30, 10]
    np.testing.assert_allclose(outputs, layers[-1], atol=6e-4)
    neurons = browser.find_elements("css selector", ".layer button")
    assert len(neurons) == 30
    neurons[7].send_keys(Keys.ENTER)
    assert element(browser, "weights-caption").text.startswith("Weights of neuron 7 in layer 1")
    pixels = browser.execute_script(
        "return Array.from($('weights').getContext('2d').getImageData(0, 0, 8, 8).data)"
    )
    w = np.asarray(model.params[0].w[7])
    np.testing.assert_allclose(np.array(pixels[::4]), 127.5 * (1 + w / np.abs(w).max()), atol=1)


@pytest.mark.slow
def test_the_layout_stays_stable_and_nothing_overflows(browser):
    names = ["status", "digits", "outputs", "layers", "weights"]
    tops = f"return {names}.map((id) => $(id).getBoundingClientRect().top + scrollY)"
    before = browser.execute_script(tops)
    element(browser, "example").click()
    np.testing.assert_allclose(browser.execute_script(tops), before, atol=1)
    page_width, window_width = browser.execute_script(
        "return [document.documentElement.scrollWidth, innerWidth]"
    )
    assert page_width <= window_width
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0


@pytest.mark.slow
def test_a_model_s_metadata_runs_no_code(chromium, model, tmp_path):
    (tmp_path / "injection.html").write_text(draw_page(replace(model, dataset=INJECTION)))
    chromium.get((tmp_path / "injection.html").as_uri())
    assert chromium.title == "Draw digits"
    assert INJECTION in element(chromium, "description").text


class RecordingHandler(BaseHTTPRequestHandler):
    """Records every request, whatever its method."""

    def handle_one_request(self):
        self.server.requests.append(self.rfile.readline().decode(errors="replace").strip())  # pyright: ignore
        self.close_connection = True


REQUESTS_OF_ALL_KINDS = """
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
def test_the_policy_blocks_every_network_request(chromium, model, tmp_path):
    """Without the policy, the same script reaches the server."""
    page = draw_page(model)
    without_policy = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    requests, refused = {}, {}
    with ThreadingHTTPServer(("127.0.0.1", 0), RecordingHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name, html in {"page": page, "without": without_policy}.items():
            server.requests = requests[name] = []  # pyright: ignore
            (tmp_path / f"{name}.html").write_text(html)
            chromium.get((tmp_path / f"{name}.html").as_uri())
            url = f"http://127.0.0.1:{server.server_address[1]}/"
            refused[name] = chromium.execute_async_script(REQUESTS_OF_ALL_KINDS, url)
        chromium.get("about:blank")
        server.shutdown()
    chromium.get_log("browser")
    assert requests["page"] == []
    kinds = " ".join(sorted(line.split()[1] for line in set(requests["without"])))
    assert kinds == "/beacon /fetch /form /frame /image /script /socket /style /video"
    of_elements = ["form-action", "frame-src", "img-src", "media-src", "script-src-elem", "style-src-elem"]
    assert refused == {"page": ["connect-src", *of_elements], "without": []}
