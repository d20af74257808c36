// What nnjax.images does with a clean picture, step by step the same: marks, lines, cuts, form,
// network. `C` holds its constants, `model` the network. Ink is a Float32Array of width x height, 0 to 1.

const sum = (a) => a.reduce((x, y) => x + y, 0);
const argmax = (a) => a.reduce((best, x, i) => (x > a[best] ? i : best), 0);

// A mark is the places of its pixels in the picture, row by row.
function boxAround(pixels, width) {
  let top = Infinity, left = Infinity, bottom = 0, right = 0;
  for (const p of pixels) {
    const row = Math.floor(p / width), column = p % width;
    if (row < top) top = row;
    if (row >= bottom) bottom = row + 1;
    if (column < left) left = column;
    if (column >= right) right = column + 1;
  }
  return measured({ top, left, bottom, right });
}

function measured(box) {
  return { ...box, height: box.bottom - box.top, width: box.right - box.left };
}

function around(a, b) {
  return measured({
    top: Math.min(a.top, b.top), left: Math.min(a.left, b.left),
    bottom: Math.max(a.bottom, b.bottom), right: Math.max(a.right, b.right),
  });
}

function connected(ink, width, height) {
  const seen = new Uint8Array(ink.length), marks = [];
  for (let start = 0; start < ink.length; start++) {
    if (seen[start] || ink[start] < C.INKED) continue;
    const pixels = [start];
    seen[start] = 1;
    for (let i = 0; i < pixels.length; i++) {
      const row = Math.floor(pixels[i] / width), column = pixels[i] % width;
      for (let r = Math.max(0, row - 1); r <= Math.min(height - 1, row + 1); r++)
        for (let c = Math.max(0, column - 1); c <= Math.min(width - 1, column + 1); c++) {
          const p = r * width + c;
          if (!seen[p] && ink[p] >= C.INKED) { seen[p] = 1; pixels.push(p); }
        }
    }
    marks.push({ pixels, box: boxAround(pixels, width) });
  }
  return marks.sort((a, b) => b.pixels.length - a.pixels.length);
}

function weightedMedian(values, weights) {
  const order = values.map((_, i) => i).sort((a, b) => values[a] - values[b]);
  let left = sum(weights) / 2;
  for (const i of order) if ((left -= weights[i]) <= 0) return values[i];
}

function linesOf(marks) {
  const height = weightedMedian(marks.map((m) => m.box.height), marks.map((m) => m.pixels.length));
  const tall = marks.filter((m) => m.box.height >= C.TALL * height), small = marks.filter((m) => m.box.height < C.TALL * height);
  const lines = [];
  for (const mark of tall) { // joined with all the lines that it belongs to
    const near = lines.filter((line) => line.some((other) => together(mark.box, other.box, height)));
    const line = [mark, ...near.flat()];
    for (const old of near) lines.splice(lines.indexOf(old), 1);
    lines.push(line);
  }
  for (const mark of small) {
    const nearest = tall.reduce((best, m) => (distance(mark.box, m.box) < distance(mark.box, best.box) ? m : best));
    const large = Math.max(mark.box.height, mark.box.width) >= C.LARGE * height;
    if (large && distance(mark.box, nearest.box) <= C.NEARBY * height) lines.find((line) => line.includes(nearest)).push(mark);
  }
  const top = (line) => sum(line.map((m) => m.box.top)) / line.length;
  return lines.sort((a, b) => top(a) - top(b));
}

function together(a, b, height) {
  const rows = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
  const columns = Math.min(a.right, b.right) - Math.max(a.left, b.left);
  return rows >= C.SHARED * Math.min(a.height, b.height)
    || (columns >= C.SHARED * Math.min(a.width, b.width) && -rows <= C.STACKED * height);
}

function distance(a, b) {
  return Math.max(0, b.top - a.bottom, b.left - a.right, a.top - b.bottom, a.left - b.right);
}

function lineHeight(line) {
  const stacks = [];
  for (const { box, pixels } of [...line].sort((a, b) => a.box.left - b.box.left)) {
    const last = stacks[stacks.length - 1];
    const shared = last && Math.min(last.box.right, box.right) - box.left;
    if (last && shared >= C.SHARED * Math.min(last.box.width, box.width)) {
      last.box = around(last.box, box);
      last.ink += pixels.length;
    } else stacks.push({ box, ink: pixels.length });
  }
  return weightedMedian(stacks.map((s) => s.box.height), stacks.map((s) => s.ink));
}

// Form

// A digit's ink alone: its pixels, and the soft edge around them that is no one's.
function cutOut(ink, owned, { pixels, box }, width, height) {
  const top = Math.max(box.top - 1, 0), left = Math.max(box.left - 1, 0), rightmost = Math.min(box.right, width - 1);
  const digit = Array.from({ length: Math.min(box.bottom + 1, height) - top }, () => new Float32Array(rightmost + 1 - left));
  const inked = new Uint8Array(rightmost + 1 - left);
  for (const p of pixels) {
    const row = Math.floor(p / width), column = p % width;
    for (let r = Math.max(top, row - 1); r <= Math.min(height - 1, row + 1); r++)
      for (let c = Math.max(left, column - 1); c <= Math.min(rightmost, column + 1); c++) {
        const near = r * width + c;
        if ((near === p || !owned[near]) && ink[near]) { digit[r - top][c - left] = ink[near]; inked[c - left] = 1; }
      }
  }
  const rows = digit.filter((line) => line.some((x) => x > 0));
  return rows.map((line) => line.subarray(inked.indexOf(1), inked.lastIndexOf(1) + 1));
}

// One pass of a box filter, as Pillow has it: rows of numbers to rows of `size` numbers.
function resample(rows, size) {
  const length = rows[0].length, scale = length / size, support = Math.max(scale, 1) / 2;
  const weights = Array.from({ length: size }, (_, i) => {
    const centre = (i + 0.5) * scale;
    const from = Math.max(0, Math.floor(centre - support + 0.5)), to = Math.min(length, Math.floor(centre + support + 0.5));
    const w = Array.from({ length: to - from }, (_, j) => {
      const x = (j + from - centre + 0.5) / (2 * support);
      return x > -0.5 && x <= 0.5 ? 1 : 0;
    });
    const whole = sum(w);
    return { from, w: w.map((x) => x / whole) };
  });
  return rows.map((row) => {
    const made = new Float32Array(size);
    weights.forEach(({ from, w }, i) => {
      let total = 0;
      for (let j = 0; j < w.length; j++) total += w[j] * row[from + j];
      made[i] = total;
    });
    return made;
  });
}

function transposed(rows) {
  const columns = Array.from(rows[0], () => new Float32Array(rows.length));
  for (let r = 0; r < rows.length; r++) for (let c = 0; c < columns.length; c++) columns[c][r] = rows[r][c];
  return columns;
}

const even = (x) => (x % 1 === 0.5 ? 2 * Math.round(x / 2) : Math.round(x)); // as Python rounds

function bringToForm(ink) {
  const [H, W] = model.shape, { box, stretched } = model.form;
  const scale = Math.max(...box) / Math.max(ink.length, ink[0].length);
  const [height, width] = stretched ? box : [ink.length, ink[0].length].map((n) => Math.max(1, even(n * scale)));
  const small = transposed(resample(transposed(resample(ink, width)), height));
  const digit = small.map((row) => Array.from(row, (x) => even(255 * Math.min(1, Math.max(0, x)))));
  const start = (mass, length) => {
    const centre = sum(mass.map((m, i) => m * (i + 0.5))) / Math.max(sum(mass), 1);
    return Math.max(0, Math.min(length - mass.length, Math.ceil(length / 2 - centre)));
  };
  const columns = digit[0].map((_, c) => sum(digit.map((row) => row[c])));
  const [top, left] = stretched
    ? [Math.floor((H - height) / 2), Math.floor((W - width) / 2)]
    : [start(digit.map(sum), H), start(columns, W)];
  const form = new Uint8Array(H * W);
  digit.forEach((row, r) => row.forEach((x, c) => { form[(top + r) * W + left + c] = x; }));
  return form;
}

// Network

const ACTIVATIONS = {
  sigmoid: (z) => z.map((x) => 1 / (1 + Math.exp(-x))),
  tanh: (z) => z.map(Math.tanh),
  relu: (z) => z.map((x) => Math.max(0, x)),
  step: (z) => z.map((x) => (x > 0 ? 1 : 0)),
  identity: (z) => z,
  softmax: (z) => {
    const e = z.map((x) => Math.exp(x - Math.max(...z)));
    return e.map((x) => x / sum(e));
  },
};

// The activations of all dense layers, the outputs last, as the code reads them.
function feedforward(form) {
  let a = seen(Array.from(form, (x) => x / 255));
  return model.layers.map(({ w, b, activation }) => {
    const n = a.length, inked = [];
    for (let i = 0; i < n; i++) if (a[i]) inked.push(i);
    const z = Array.from(b);
    for (let j = 0; j < z.length; j++) for (let k = 0; k < inked.length; k++) z[j] += w[j * n + inked[k]] * a[inked[k]];
    a = ACTIVATIONS[activation](z);
    return a;
  });
}

function probabilities(outputs) {
  const a = outputs.map((x) => Math.min(1 - C.LEAST_A, Math.max(C.LEAST_A, x)));
  const likelihood = (y) => sum(a.map((x, j) => Math.log(y[j] ? x : 1 - x)));
  const scores = model.exclusive ? a.slice(0, model.classes).map(Math.log) : model.code.map(likelihood);
  scores.push(model.silence ? likelihood(a.map(() => 0)) : -Infinity);
  return ACTIVATIONS.softmax(scores);
}

// The mean over positions: as it is, and moved aside eight ways.
function meanProbabilities(form, layers) {
  const ways = model.shape.map((length) => [...new Set([0, -1, 1].map((way) => way * even(C.MOVED * length)))]), all = [];
  for (const down of ways[0])
    for (const across of ways[1])
      all.push(probabilities((down || across ? feedforward(moved(form, down, across)) : layers).at(-1)));
  return ACTIVATIONS.softmax(all[0].map((_, k) => Math.log(sum(all.map((p) => p[k])) / all.length) / model.temperature));
}

function moved(form, down, across) {
  const [H, W] = model.shape, made = new Uint8Array(form.length);
  for (let r = Math.max(0, down); r < Math.min(H, H + down); r++)
    for (let c = Math.max(0, across); c < Math.min(W, W + across); c++) made[r * W + c] = form[(r - down) * W + c - across];
  return made;
}

function strangeness(form, label) {
  if (!model.likeness) return 0;
  const { means, directions, rest, middle, spread } = model.likeness, n = form.length;
  const x = Array.from(form, (v, i) => v / 255 - means[label * n + i]);
  let beyond = x.reduce((total, v) => total + v * v, 0), far = 0;
  for (let d = 0; d < directions.length; d += n) {
    let z = 0, length = 0;
    for (let i = 0; i < n; i++) { z += directions[d + i] * x[i]; length += directions[d + i] ** 2; }
    far += z * z;
    beyond -= (z * z) / length;
  }
  return (Math.sqrt(far + Math.max(0, beyond) / rest) - middle) / spread;
}

function look(form) {
  const layers = feedforward(form), p = meanProbabilities(form, layers);
  const label = argmax(p.slice(0, model.classes));
  return { form, layers, p, label, confidence: p[label], odd: strangeness(form, label) };
}

// Reading

function bestReading(candidates) {
  const end = Math.max(...candidates.map((c) => c.last)), best = new Array(end + 1).fill(-Infinity), by = [];
  best[0] = 0;
  for (const c of candidates) { // in the order of their first seams
    if (best[c.first] + c.score > best[c.last]) { best[c.last] = best[c.first] + c.score; by[c.last] = c; }
  }
  const chosen = [];
  for (let at = end; at; at = by[at].first) chosen.unshift(by[at]);
  return chosen;
}

// What was read last: its candidates stay as they were while one draws elsewhere.
const before = { ink: null, owned: null, known: new Map() };

// Forgets all candidates near to what has changed since then, be it ink or what belongs to marks.
function forget(ink, owned, width) {
  if (before.ink?.length !== ink.length) before.known.clear();
  const changed = [];
  for (let p = 0; p < ink.length; p++) if (before.ink?.[p] !== ink[p] || before.owned[p] !== owned[p]) changed.push(p);
  const { top, left, bottom, right } = boxAround(changed, width);
  for (const [name, { box }] of before.known)
    if (box.top <= bottom && box.bottom >= top && box.left <= right && box.right >= left) before.known.delete(name);
  Object.assign(before, { ink: ink.slice(), owned });
}

function score(c) {
  const doubt = c.form ? C.ODD * Math.max(0, c.odd - C.USUAL) - Math.log(c.confidence + C.LEAST_P) : -Math.log(1 + C.LEAST_P);
  c.score = -c.cost - doubt;
}

// The lines of writing, each the digits that were read.
function read(ink, width, height) {
  const marks = connected(ink, width, height).filter((m) => Math.max(m.box.height, m.box.width) >= C.LEAST);
  if (!marks.length) return [];
  const lines = linesOf(marks), owned = new Uint8Array(ink.length), now = new Map();
  for (const line of lines) for (const mark of line) for (const p of mark.pixels) owned[p] = 1;
  forget(ink, owned, width);
  const reading = lines.map((line) => {
    const candidates = candidatesOf(line, lineHeight(line), width, before.known);
    for (const c of candidates) { score(c); now.set(c.name, c); }
    // The network looks only at what the best reading so far takes: at best it doubts nothing of the rest.
    for (;;) {
      const best = bestReading(candidates), unseen = best.filter((c) => !c.form);
      if (!unseen.length) return best.filter((c) => c.p[c.p.length - 1] < C.NO_DIGIT && c.odd < C.STRANGE);
      for (const c of unseen) score(Object.assign(c, look(bringToForm(cutOut(ink, owned, c, width, height)))));
    }
  });
  before.known = now;
  return reading.filter((line) => line.length);
}
