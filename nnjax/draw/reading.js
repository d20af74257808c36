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
  const tall = marks.filter((m) => m.box.height >= height / 2), small = marks.filter((m) => m.box.height < height / 2);
  const lines = [];
  for (const mark of tall) { // joined with all the lines that it belongs to
    const near = lines.filter((line) => line.some((other) => together(mark.box, other.box, height)));
    const line = [mark, ...near.flat()];
    for (const old of near) lines.splice(lines.indexOf(old), 1);
    lines.push(line);
  }
  for (const mark of small) {
    const nearest = tall.reduce((best, m) => (distance(mark.box, m.box) < distance(mark.box, best.box) ? m : best));
    const large = Math.max(mark.box.height, mark.box.width) >= height / 5;
    if (large && distance(mark.box, nearest.box) <= height / 3) lines.find((line) => line.includes(nearest)).push(mark);
  }
  const top = (line) => sum(line.map((m) => m.box.top)) / line.length;
  return lines.sort((a, b) => top(a) - top(b));
}

function together(a, b, height) {
  const rows = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
  const columns = Math.min(a.right, b.right) - Math.max(a.left, b.left);
  return rows >= Math.min(a.height, b.height) / 2
    || (columns >= Math.min(a.width, b.width) / 2 && -rows <= 0.15 * height);
}

function distance(a, b) {
  return Math.max(0, b.top - a.bottom, b.left - a.right, a.top - b.bottom, a.left - b.right);
}

function lineHeight(line) {
  const stacks = [];
  for (const { box, pixels } of [...line].sort((a, b) => a.box.left - b.box.left)) {
    const last = stacks[stacks.length - 1];
    const shared = last && Math.min(last.box.right, box.right) - box.left;
    if (last && shared >= 0.5 * Math.min(last.box.width, box.width)) {
      last.box = around(last.box, box);
      last.ink += pixels.length;
    } else stacks.push({ box, ink: pixels.length });
  }
  return weightedMedian(stacks.map((s) => s.box.height), stacks.map((s) => s.ink));
}

// Cuts

function atomsOf(line, height, width) {
  return line.flatMap((mark) => cut(mark, height, width)).sort((a, b) => a.box.left + a.box.right - b.box.left - b.box.right);
}

function cut({ pixels, box }, height, width) {
  const seams = candidateCuts(pixels, box, height, width);
  const pieces = Array.from({ length: seams.length + 1 }, () => []);
  for (const p of pixels) {
    const row = Math.floor(p / width) - box.top, column = p % width;
    pieces[seams.filter((seam) => column >= seam.way[row]).length].push(p);
  }
  return pieces
    .map((piece, i) => ({ pixels: piece, cut: i < seams.length ? C.CUT + (C.THROUGH * seams[i].through) / height : 0 }))
    .filter((atom) => atom.pixels.length)
    .map((atom) => ({ ...atom, box: boxAround(atom.pixels, width) }));
}

function candidateCuts(pixels, box, height, width) {
  const mask = Array.from({ length: box.height }, () => new Float64Array(box.width));
  for (const p of pixels) mask[Math.floor(p / width) - box.top][(p % width) - box.left] = 1;
  const middle = Math.floor(box.height / 2);
  const margin = Math.max(2, Math.floor(height / 12)), reach = Math.max(1, Math.floor(height / 16));
  const down = least(mask.slice(0, middle + 1)), up = least(mask.slice(middle).reverse());
  const through = mask[middle].map((ink, x) => down[middle][x] + up[up.length - 1][x] - ink);
  const clamp = (x) => Math.max(0, Math.min(box.width - 1, x));
  const smooth = through.map((_, x) => (through[clamp(x - 1)] + through[x] + through[clamp(x + 1)]) / 3);
  const chosen = [];
  for (let x = margin; x < box.width - margin; x++) {
    let lowest = true;
    for (let near = clamp(x - reach); near <= clamp(x + reach); near++) lowest &&= smooth[x] <= smooth[near] + 1e-9;
    if (lowest && through[x] <= height / 2 && x - (chosen.length ? chosen[chosen.length - 1] : 0) >= margin) chosen.push(x);
  }
  return chosen.map((x) => ({
    through: through[x],
    way: [...back(down, x).reverse(), ...back(up, x).slice(1)].map((column) => column + box.left),
  }));
}

// By how many columns the cheapest way from x leads aside: 0, -1 or 1.
function aside(row, x) {
  const left = x > 0 ? row[x - 1] + C.ASIDE : Infinity, right = x + 1 < row.length ? row[x + 1] + C.ASIDE : Infinity;
  if (row[x] <= left && row[x] <= right) return 0;
  return left <= right ? -1 : 1;
}

function least(mask) {
  const total = [mask[0]];
  for (let row = 1; row < mask.length; row++) {
    const above = total[row - 1];
    total.push(mask[row].map((ink, x) => {
      const step = aside(above, x);
      return ink + above[x + step] + (step ? C.ASIDE : 0);
    }));
  }
  return total;
}

function back(total, x) {
  const way = [x];
  for (let row = total.length - 2; row >= 0; row--) {
    x += aside(total[row], x);
    way.push(x);
  }
  return way;
}

function candidatesOf(atoms, height) {
  const found = [];
  for (let first = 0; first < atoms.length; first++) {
    let box = atoms[first].box, apart = 0, pixels = [];
    for (let last = first + 1; last <= Math.min(first + C.PIECES, atoms.length); last++) {
      const atom = atoms[last - 1];
      apart += Math.max(0, atom.box.left - box.right);
      box = around(box, atom.box);
      if (last > first + 1 && box.width > 1.6 * Math.max(height, box.height)) break;
      pixels = pixels.concat(atom.pixels);
      const cost = atom.cut + (C.APART * apart) / height
        + C.WIDE * Math.max(0, box.width / Math.max(height, box.height) - C.WIDEST)
        + C.LOW * Math.max(0, 0.5 - box.height / height);
      found.push({ first, last, pixels, box, cost });
    }
  }
  return found;
}

// Form

function cutOut(ink, owned, { pixels, box }, width, height) {
  const top = Math.max(box.top - 1, 0), left = Math.max(box.left - 1, 0);
  const bottom = Math.min(box.bottom + 1, height), right = Math.min(box.right + 1, width);
  const w = right - left, own = new Uint8Array(w * (bottom - top));
  for (const p of pixels) own[(Math.floor(p / width) - top) * w + (p % width) - left] = 1;
  const digit = [];
  for (let row = top; row < bottom; row++) {
    const line = new Float64Array(w);
    for (let column = left; column < right; column++) {
      const at = (row - top) * w + column - left, p = row * width + column;
      let near = own[at];
      if (!near && !owned[p] && ink[p])
        for (let r = Math.max(top, row - 1); r <= Math.min(bottom - 1, row + 1); r++)
          for (let c = Math.max(left, column - 1); c <= Math.min(right - 1, column + 1); c++)
            near ||= own[(r - top) * w + c - left];
      if (near) line[column - left] = ink[p];
    }
    digit.push(line);
  }
  const rows = digit.filter((line) => line.some((x) => x > 0));
  const inked = Array.from({ length: w }, (_, c) => rows.some((line) => line[c] > 0));
  return rows.map((line) => line.slice(inked.indexOf(true), inked.lastIndexOf(true) + 1));
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

const transposed = (rows) => Array.from(rows[0], (_, c) => Float32Array.from(rows, (row) => row[c]));

function bringToForm(ink) {
  const [H, W] = model.shape, { box, stretched } = model.form;
  const scale = Math.max(...box) / Math.max(ink.length, ink[0].length);
  const even = (x) => (x % 1 === 0.5 ? 2 * Math.round(x / 2) : Math.round(x)); // as Python rounds
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

// The activations of all layers, the outputs last, as the code reads them.
function feedforward(form) {
  let a = Array.from(form, (x) => x / 255);
  return model.layers.map(({ w, b, activation }) => {
    const inked = a.flatMap((x, i) => (x ? [i] : [])), n = a.length;
    const z = Array.from(b, (bias, j) => {
      let total = bias;
      for (const i of inked) total += w[j * n + i] * a[i];
      return total;
    });
    a = ACTIVATIONS[activation](z);
    return a;
  });
}

function probabilities(outputs) {
  const a = outputs.map((x) => Math.min(1 - 1e-6, Math.max(1e-6, x)));
  const likelihood = (y) => sum(a.map((x, j) => Math.log(y[j] ? x : 1 - x)));
  const scores = model.exclusive ? a.slice(0, model.classes).map(Math.log) : model.code.map(likelihood);
  scores.push(model.silence ? likelihood(a.map(() => 0)) : -Infinity);
  return ACTIVATIONS.softmax(scores.map((x) => x / model.temperature));
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
  const layers = feedforward(form), p = probabilities(layers[layers.length - 1]);
  const label = argmax(p.slice(0, model.classes));
  return { form, layers, p, label, confidence: p[label], odd: strangeness(form, label) };
}

// Reading

function bestReading(candidates, count) {
  const best = new Array(count + 1).fill(-Infinity), by = new Array(count + 1);
  best[0] = 0;
  for (const c of candidates) { // in the order of their first atoms
    if (best[c.first] + c.score > best[c.last]) { best[c.last] = best[c.first] + c.score; by[c.last] = c; }
  }
  const chosen = [];
  for (let at = count; at; at = by[at].first) chosen.unshift(by[at]);
  return chosen;
}

let known = new Map(); // what was made of a candidate's pixels: most stay as they were while one draws

function nameOf({ pixels }, ink) {
  let hash = pixels.length;
  for (const p of pixels) hash = (Math.imul(hash, 31) + p + 1e6 * ink[p]) | 0;
  return hash;
}

// The lines of writing, each the digits that were read.
function read(ink, width, height) {
  const marks = connected(ink, width, height).filter((m) => Math.max(m.box.height, m.box.width) >= C.LEAST);
  if (!marks.length) return [];
  const lines = linesOf(marks), owned = new Uint8Array(ink.length), now = new Map();
  for (const line of lines) for (const mark of line) for (const p of mark.pixels) owned[p] = 1;
  const reading = lines.map((line) => {
    const high = lineHeight(line), atoms = atomsOf(line, high, width);
    const candidates = candidatesOf(atoms, high);
    for (const c of candidates) {
      const name = nameOf(c, ink);
      const looked = known.get(name) || look(bringToForm(cutOut(ink, owned, c, width, height)));
      now.set(name, looked);
      Object.assign(c, looked);
      c.score = Math.log(c.confidence + 1e-9) - c.cost - C.ODD * Math.max(0, c.odd - C.USUAL);
    }
    return bestReading(candidates, atoms.length).filter(
      (c) => c.p[c.p.length - 1] < C.NO_DIGIT && c.odd < C.STRANGE);
  });
  known = now;
  return reading.filter((line) => line.length);
}
