// The page: a canvas to draw on. After each change, the drawing is recognized, and outputs and activations are shown.

const $ = (id) => document.getElementById(id);
const drawing = $("drawing"), context = drawing.getContext("2d", { willReadFrequently: true });
const PEN_WIDTH_PX = 12;
let strokes = [], lines = [], selectedDigit = 0, selectedNeuron = 0;

function paint() {
  context.fillStyle = "#fff";
  context.fillRect(0, 0, drawing.width, drawing.height);
  context.strokeStyle = "#000";
  context.lineWidth = PEN_WIDTH_PX;
  context.lineCap = context.lineJoin = "round";
  for (const stroke of strokes) {
    context.beginPath();
    context.moveTo(...stroke[0]);
    for (const point of stroke.length > 1 ? stroke.slice(1) : stroke) context.lineTo(...point);
    context.stroke();
  }
}

function inkOfDrawing() {
  const { data } = context.getImageData(0, 0, drawing.width, drawing.height), ink = new Float32Array(data.length / 4);
  for (let i = 0; i < ink.length; i++) ink[i] = 1 - data[4 * i] / 255;
  return ink;
}

function update() {
  paint();
  lines = read(inkOfDrawing(), drawing.width, drawing.height);
  const digits = lines.flat();
  selectedDigit = Math.max(0, Math.min(selectedDigit, digits.length - 1));
  showDigits(digits);
}

const percent = (p) => `${(100 * p).toFixed(p > 0.995 ? 1 : 0)}\u00a0%`;
const isUncertain = (digit) => digit.confidence < constants.MIN_CONFIDENCE;

function statusText(digits) {
  if (!strokes.length) return "Nothing is drawn yet.";
  if (!digits.length) return "No digit was recognized.";
  const text = lines.map((line) => line.map((d) => d.label).join("")).join(" / ");
  const count = digits.length === 1 ? "1 digit" : `${digits.length} digits`;
  return `Recognized ${text} (${count}). ${confidenceText(digits)}`;
}

function confidenceText(digits) {
  const lowest = digits.reduce((a, b) => (a.confidence < b.confidence ? a : b));
  if (!isUncertain(lowest))
    return `${digits.length === 1 ? "Confidence" : "Lowest confidence"}: ${percent(lowest.confidence)}.`;
  const others = lowest.p.slice(0, model.numClasses).map((p, k) => (k === lowest.label ? -1 : p)), second = argmax(others);
  return `Uncertain: the ${lowest.label} (${percent(lowest.confidence)}) could be a ${second} (${percent(others[second])}).`;
}

function showDigits(digits) {
  $("status").textContent = statusText(digits);
  $("digits").replaceChildren(...digits.map((digit, i) => {
    const button = document.createElement("button"), image = document.createElement("canvas");
    const caption = document.createElement("span");
    drawImage(image, digit.image, (x) => 255 - x);
    caption.className = isUncertain(digit) ? "uncertain" : "";
    caption.textContent = `${digit.label}${isUncertain(digit) ? "?" : ""} · ${percent(digit.confidence)}`;
    button.append(image, caption);
    button.setAttribute("aria-pressed", i === selectedDigit);
    button.onclick = () => { selectedDigit = i; showDigits(digits); $("digits").children[i].focus(); };
    return button;
  }));
  const digit = digits[selectedDigit];
  $("selected-digit").textContent = digit ? `the ${digit.label}` : "the selected digit";
  showOutputs(digit);
  showActivations(digit);
  showWeights();
}

function drawImage(canvas, values, toGray) {
  [canvas.height, canvas.width] = model.imageShape;
  const context = canvas.getContext("2d"), image = context.createImageData(canvas.width, canvas.height);
  values.forEach((x, i) => image.data.set([toGray(x), toGray(x), toGray(x), 255], 4 * i));
  context.putImageData(image, 0, 0);
}

function showOutputs(digit) {
  const outputs = digit ? digit.layers.at(-1) : model.outputNames.map(() => 0);
  $("outputs").replaceChildren(...outputs.map((a, k) => {
    const row = document.createElement("div"), bar = document.createElement("progress");
    const name = document.createElement("span"), number = document.createElement("span");
    row.className = "output";
    bar.max = 1;
    bar.value = Math.min(1, Math.max(0, a));
    bar.setAttribute("aria-label", `output ${model.outputNames[k]}`);
    name.textContent = model.outputNames[k];
    number.className = "number";
    number.textContent = a.toFixed(3);
    row.append(name, bar, number);
    return row;
  }));
}

function showActivations(digit) {
  $("layers").replaceChildren(...model.layers.map(({ b }, l) => {
    const layer = document.createElement("div");
    const isSelectable = l === 0 && model.layers.length > 1 && !model.convolutions.length;
    layer.className = "layer";
    layer.append(...Array.from(b, (_, j) => {
      const a = digit ? digit.layers[l][j] : 0, cell = document.createElement(isSelectable ? "button" : "span");
      cell.style.backgroundColor = `rgb(from var(--ink) r g b / ${Math.min(1, Math.abs(a)).toFixed(3)})`;
      cell.title = `layer ${l + 1}, neuron ${j}: ${a.toFixed(3)}`;
      if (isSelectable) {
        cell.setAttribute("aria-label", cell.title);
        cell.setAttribute("aria-pressed", j === selectedNeuron);
        cell.onclick = () => {
          selectedNeuron = j;
          showActivations(digit);
          showWeights();
          $("layers").firstChild.children[j].focus();
        };
      }
      return cell;
    }));
    return layer;
  }));
}

function showWeights() {
  $("select-hint").hidden = $("weights").hidden = model.convolutions.length > 0;
  if ($("weights").hidden) {
    $("weights-caption").textContent =
      "Weights cannot be shown as images, because the first layers of this network are convolutions.";
    return;
  }
  const { w } = model.layers[0], n = model.imageShape[0] * model.imageShape[1];
  const weights = Array.from(w.slice(selectedNeuron * n, (selectedNeuron + 1) * n));
  const largest = Math.max(...weights.map(Math.abs)) || 1;
  drawImage($("weights"), weights, (x) => 127.5 * (1 + x / largest));
  $("weights-caption").textContent =
    `Weights of neuron ${selectedNeuron} in layer 1: white is positive, gray is zero, black is negative.`;
}

// Strokes

function pointOf(event) {
  const box = drawing.getBoundingClientRect();
  return [((event.clientX - box.left) * drawing.width) / box.width, ((event.clientY - box.top) * drawing.height) / box.height];
}

let activePointer = null, scheduledFrame = 0;

drawing.addEventListener("pointerdown", (event) => {
  if (activePointer !== null || event.button) return;
  activePointer = event.pointerId;
  drawing.setPointerCapture(activePointer);
  strokes.push([pointOf(event)]);
  scheduleUpdate();
});
drawing.addEventListener("pointermove", (event) => {
  if (event.pointerId !== activePointer) return;
  strokes.at(-1).push(...(event.getCoalescedEvents?.() || [event]).map(pointOf));
  scheduleUpdate();
});
for (const type of ["pointerup", "pointercancel"])
  drawing.addEventListener(type, (event) => {
    if (event.pointerId !== activePointer) return;
    activePointer = null;
    cancelAnimationFrame(scheduledFrame);
    scheduledFrame = 0;
    update();
  });

// At most one update per frame.
function scheduleUpdate() {
  scheduledFrame ||= requestAnimationFrame(() => { scheduledFrame = 0; update(); });
}

$("undo").onclick = () => { strokes.pop(); update(); };
$("clear").onclick = () => { strokes = []; update(); };
$("example").onclick = () => { strokes = []; for (const digit of [5, 0, 4, 1, 9, 2]) addExample(digit); update(); };
addEventListener("keydown", (event) => {
  if (event.target instanceof HTMLButtonElement && event.key === " ") return;
  if ((event.ctrlKey || event.metaKey) && event.key === "z") { event.preventDefault(); $("undo").click(); }
  else if (event.key === "Escape") $("clear").click();
  else if (event.key === "Backspace") $("undo").click();
  else if (/^[0-9]$/.test(event.key) && !event.ctrlKey && !event.metaKey) { addExample(+event.key); update(); }
});

// The strokes of each example digit: x y of each point, in a box of 10 x 16.
const EXAMPLES = [
  ["5 0 1 3 0 8 1 13 5 16 9 13 10 8 9 3 5 0"],
  ["5 0 5 16"],
  ["1 3 4 0 8 1 9 4 7 9 1 16 10 16"],
  ["1 1 5 0 9 2 8 6 4 7.5 9 9 10 13 5 16 0 14"],
  ["2 0 0 9 10 9", "8 2 8 16"],
  ["9 0 2 0 1 7 5 6 9 8 9 13 5 16 0 14"],
  ["7 0 3 4 1 10 2 14 5 16 9 14 9 10 6 8 2 10"],
  ["0 0 10 0 4 16"],
  ["5 7 2 5 2 2 5 0 8 2 8 5 5 7 1 10 1 14 5 16 9 14 9 10 5 7"],
  ["9 4 7 0 3 0 1 4 3 8 7 8 9 4 9 9 7 16"],
];
const EXAMPLE_SCALE = 6.5; // pixels per unit of that box

// Adds an example digit to the right of the drawing; clears the drawing if there is no more room.
function addExample(digit) {
  const right = Math.max(0, ...strokes.flat().map(([x]) => x));
  let left = right ? right + 2.5 * PEN_WIDTH_PX : 2 * PEN_WIDTH_PX;
  if (left + 10 * EXAMPLE_SCALE > drawing.width) { strokes = []; left = 2 * PEN_WIDTH_PX; }
  const top = (drawing.height - 16 * EXAMPLE_SCALE) / 2;
  if (digit === 1) left -= 5 * EXAMPLE_SCALE; // it is drawn in the middle of its box
  for (const text of EXAMPLES[digit]) {
    const numbers = text.split(" ").map(Number), stroke = [];
    for (let i = 0; i < numbers.length; i += 2)
      stroke.push([left + EXAMPLE_SCALE * numbers[i], top + EXAMPLE_SCALE * numbers[i + 1]]);
    strokes.push(smoothCurve(stroke));
  }
}

// A Catmull-Rom curve through the points; straight lines if there are only two or three.
function smoothCurve(points) {
  if (points.length < 4) return points;
  const curve = [points[0]];
  for (let i = 0; i + 1 < points.length; i++) {
    const [a, b, c, d] = [points[Math.max(0, i - 1)], points[i], points[i + 1], points[Math.min(points.length - 1, i + 2)]];
    for (let t = 0.125; t <= 1; t += 0.125)
      curve.push([0, 1].map((k) => 0.5 * (2 * b[k] + (c[k] - a[k]) * t + (2 * a[k] - 5 * b[k] + 4 * c[k] - d[k]) * t ** 2
        + (3 * b[k] - a[k] - 3 * c[k] + d[k]) * t ** 3)));
  }
  return curve;
}

$("description").textContent =
  `${model.description} Press 0 to 9 to add an example digit, Backspace to undo, Escape to clear.`;
update();
