// The page: strokes on a canvas, read after each, and what the network makes of the chosen digit.

const $ = (id) => document.getElementById(id);
const pad = $("pad"), pen = pad.getContext("2d", { willReadFrequently: true });
const PEN = 12; // pixels of the page that a stroke is wide
let strokes = [], lines = [], chosen = 0, neuron = 0;

function paint() {
  pen.fillStyle = "#fff";
  pen.fillRect(0, 0, pad.width, pad.height);
  pen.strokeStyle = "#000";
  pen.lineWidth = PEN;
  pen.lineCap = pen.lineJoin = "round";
  for (const stroke of strokes) {
    pen.beginPath();
    pen.moveTo(...stroke[0]);
    for (const point of stroke.length > 1 ? stroke.slice(1) : stroke) pen.lineTo(...point);
    pen.stroke();
  }
}

function inkOnPad() {
  const { data } = pen.getImageData(0, 0, pad.width, pad.height), ink = new Float32Array(data.length / 4);
  for (let i = 0; i < ink.length; i++) ink[i] = 1 - data[4 * i] / 255;
  return ink;
}

function update() {
  paint();
  lines = read(inkOnPad(), pad.width, pad.height);
  const digits = lines.flat();
  chosen = Math.max(0, Math.min(chosen, digits.length - 1));
  show(digits);
}

// What is seen, in a sentence.
function sentence(digits) {
  if (!strokes.length) return "Nothing is drawn yet.";
  if (!digits.length) return "Nothing here looks like a digit to me.";
  const text = lines.map((line) => line.map((d) => d.label).join("")).join(" / ");
  const least = digits.reduce((a, b) => (a.confidence < b.confidence ? a : b));
  const others = least.p.slice(0, model.classes).map((p, k) => (k === least.label ? -1 : p)), second = argmax(others);
  const count = digits.length === 1 ? "one digit" : `${digits.length} digits`;
  const sure = least.confidence >= C.DOUBTED
    ? `I am sure of ${digits.length === 1 ? "it" : "each"}: ${percent(least.confidence)} at least.`
    : `I doubt the ${least.label} (${percent(least.confidence)}): it could be a ${second} (${percent(others[second])}).`;
  return `I read ${text}: ${count}. ${sure}`;
}

const percent = (p) => `${(100 * p).toFixed(p > 0.995 ? 1 : 0)}\u00a0%`;

function show(digits) {
  $("told").textContent = sentence(digits);
  const buttons = digits.map((digit, i) => {
    const button = document.createElement("button"), crop = document.createElement("canvas");
    picture(crop, digit.form, (x) => 255 - x);
    const doubted = digit.confidence < C.DOUBTED;
    const label = document.createElement("span");
    label.className = doubted ? "doubted" : "";
    label.textContent = `${digit.label}${doubted ? "?" : ""} · ${percent(digit.confidence)}`;
    button.append(crop, label);
    button.setAttribute("aria-pressed", i === chosen);
    button.onclick = () => { chosen = i; show(digits); $("digits").children[i].focus(); };
    return button;
  });
  $("digits").replaceChildren(...buttons);
  const digit = digits[chosen];
  $("which").textContent = digit ? `the ${digit.label}` : "a digit";
  showOutputs(digit);
  showLayers(digit);
  showWeights();
}

function picture(canvas, values, grey) {
  [canvas.height, canvas.width] = model.shape;
  const context = canvas.getContext("2d"), image = context.createImageData(canvas.width, canvas.height);
  values.forEach((x, i) => image.data.set([grey(x), grey(x), grey(x), 255], 4 * i));
  context.putImageData(image, 0, 0);
}

function showOutputs(digit) {
  const outputs = digit ? digit.layers[digit.layers.length - 1] : model.names.map(() => 0);
  $("outputs").replaceChildren(...outputs.map((a, k) => {
    const row = document.createElement("div"), bar = document.createElement("progress"), name = document.createElement("span"), number = document.createElement("span");
    row.className = "output";
    bar.max = 1;
    bar.value = Math.min(1, Math.max(0, a));
    bar.setAttribute("aria-label", `output ${model.names[k]}`);
    name.textContent = model.names[k];
    number.className = "number";
    number.textContent = a.toFixed(3);
    row.append(name, bar, number);
    return row;
  }));
}

function showLayers(digit) {
  $("layers").replaceChildren(...model.layers.map(({ b }, l) => {
    const layer = document.createElement("div"), first = l === 0 && model.layers.length > 1 && !model.convolutions.length;
    layer.className = "layer";
    layer.append(...Array.from(b, (_, j) => {
      const a = digit ? digit.layers[l][j] : 0, cell = document.createElement(first ? "button" : "span");
      cell.style.backgroundColor = `rgb(from var(--ink) r g b / ${Math.min(1, Math.abs(a)).toFixed(3)})`;
      cell.title = `layer ${l + 1}, neuron ${j}: ${a.toFixed(3)}`;
      if (first) {
        cell.setAttribute("aria-label", cell.title);
        cell.setAttribute("aria-pressed", j === neuron);
        cell.onclick = () => { neuron = j; showLayers(digit); showWeights(); $("layers").firstChild.children[j].focus(); };
      }
      return cell;
    }));
    return layer;
  }));
}

function showWeights() {
  $("choose").hidden = $("weights").hidden = model.convolutions.length > 0;
  if ($("weights").hidden) {
    $("weights-told").textContent = "Before the first of these layers, convolutions look at the image: its weights are no picture.";
    return;
  }
  const { w } = model.layers[0], n = model.shape[0] * model.shape[1];
  const weights = Array.from(w.slice(neuron * n, (neuron + 1) * n)), most = Math.max(...weights.map(Math.abs)) || 1;
  picture($("weights"), weights, (x) => 127.5 * (1 + x / most));
  $("weights-told").textContent =
    `Neuron ${neuron} of the first layer: white is where ink excites it, black where ink stills it, grey where it does not look.`;
}

// Drawing

function place(event) {
  const box = pad.getBoundingClientRect();
  return [((event.clientX - box.left) * pad.width) / box.width, ((event.clientY - box.top) * pad.height) / box.height];
}

let drawing = null, waiting = 0;

pad.addEventListener("pointerdown", (event) => {
  if (drawing !== null || event.button) return;
  drawing = event.pointerId;
  pad.setPointerCapture(drawing);
  strokes.push([place(event)]);
  later();
});
pad.addEventListener("pointermove", (event) => {
  if (event.pointerId !== drawing) return;
  strokes[strokes.length - 1].push(...(event.getCoalescedEvents?.() || [event]).map(place));
  later();
});
for (const end of ["pointerup", "pointercancel"])
  pad.addEventListener(end, (event) => {
    if (event.pointerId !== drawing) return;
    drawing = null;
    cancelAnimationFrame(waiting);
    waiting = 0;
    update();
  });

function later() {
  waiting ||= requestAnimationFrame(() => { waiting = 0; update(); });
}

$("undo").onclick = () => { strokes.pop(); update(); };
$("clear").onclick = () => { strokes = []; update(); };
$("example").onclick = () => { strokes = []; for (const digit of [5, 0, 4, 1, 9, 2]) write(digit); update(); };
addEventListener("keydown", (event) => {
  if (event.target instanceof HTMLButtonElement && event.key === " ") return;
  if ((event.ctrlKey || event.metaKey) && event.key === "z") { event.preventDefault(); $("undo").click(); }
  else if (event.key === "Escape") $("clear").click();
  else if (event.key === "Backspace") $("undo").click();
  else if (/^[0-9]$/.test(event.key) && !event.ctrlKey && !event.metaKey) { write(+event.key); update(); }
});

// Digits as strokes, in a box of 10 x 16.
const WRITTEN = [
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

// An example digit to the right of all that is drawn; on a new page where there is no more room.
function write(digit) {
  const size = 6.5, right = Math.max(0, ...strokes.flat().map(([x]) => x));
  let left = right ? right + 2.5 * PEN : 2 * PEN;
  if (left + 10 * size > pad.width) { strokes = []; left = 2 * PEN; }
  const top = (pad.height - 16 * size) / 2, lean = digit === 1 ? -5 * size : 0;
  for (const told of WRITTEN[digit]) {
    const numbers = told.split(" ").map(Number), stroke = [];
    for (let i = 0; i < numbers.length; i += 2) stroke.push([left + lean + size * numbers[i], top + size * numbers[i + 1]]);
    strokes.push(smooth(stroke));
  }
}

// A curve through points (Catmull-Rom); sharp where there are only two or three.
function smooth(points) {
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

$("about").textContent = `${model.about} Keys 0 to 9 write examples, Backspace undoes, Escape clears.`;
update();
