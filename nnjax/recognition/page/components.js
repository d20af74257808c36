// Connected components of ink, grouped into lines: a simpler grouping than in Python, for drawings with one or
// few lines. There are no frames, ruled lines, shadows or columns.
// Ink is a Float32Array of width x height numbers from 0 to 1. A pixel is an index into it.
// A component is { pixels, box }.

function boundingBox(pixels, width) {
  let top = Infinity, left = Infinity, bottom = 0, right = 0;
  for (const p of pixels) {
    const row = Math.floor(p / width), column = p % width;
    if (row < top) top = row;
    if (row >= bottom) bottom = row + 1;
    if (column < left) left = column;
    if (column >= right) right = column + 1;
  }
  return withSize({ top, left, bottom, right });
}

function withSize(box) {
  return { ...box, height: box.bottom - box.top, width: box.right - box.left };
}

function union(a, b) {
  return withSize({
    top: Math.min(a.top, b.top), left: Math.min(a.left, b.left),
    bottom: Math.max(a.bottom, b.bottom), right: Math.max(a.right, b.right),
  });
}

// The lines of components, from the top line to the bottom line, without specks.
function findLines(ink, width, height) {
  const isSpeck = ({ box }) => Math.max(box.height, box.width) < constants.MIN_COMPONENT_PX;
  const components = connectedComponents(ink, width, height).filter((component) => !isSpeck(component));
  return components.length ? groupIntoLines(components) : [];
}

// The largest component is first.
function connectedComponents(ink, width, height) {
  const visited = new Uint8Array(ink.length), components = [];
  for (let start = 0; start < ink.length; start++) {
    if (visited[start] || ink[start] < constants.MIN_INK) continue;
    const pixels = [start];
    visited[start] = 1;
    for (let i = 0; i < pixels.length; i++) {
      const row = Math.floor(pixels[i] / width), column = pixels[i] % width;
      for (let r = Math.max(0, row - 1); r <= Math.min(height - 1, row + 1); r++)
        for (let c = Math.max(0, column - 1); c <= Math.min(width - 1, column + 1); c++) {
          const p = r * width + c;
          if (!visited[p] && ink[p] >= constants.MIN_INK) { visited[p] = 1; pixels.push(p); }
        }
    }
    components.push({ pixels, box: boundingBox(pixels, width) });
  }
  return components.sort((a, b) => b.pixels.length - a.pixels.length);
}

function weightedMedian(values, weights) {
  const order = values.map((_, i) => i).sort((a, b) => values[a] - values[b]);
  let remaining = sum(weights) / 2;
  for (const i of order) if ((remaining -= weights[i]) <= 0) return values[i];
}

function groupIntoLines(components) {
  const height = weightedMedian(components.map((c) => c.box.height), components.map((c) => c.pixels.length));
  const isTall = (c) => c.box.height >= constants.MIN_TALL_HEIGHT * height;
  const tall = components.filter(isTall), small = components.filter((c) => !isTall(c)), lines = [];
  for (const component of tall) { // merges all lines that the component belongs to
    const matching = lines.filter((line) => line.some((other) => inSameLine(component.box, other.box, height)));
    for (const line of matching) lines.splice(lines.indexOf(line), 1);
    lines.push([component, ...matching.flat()]);
  }
  for (const component of small) {
    const distanceTo = (other) => distance(component.box, other.box);
    const nearest = tall.reduce((best, other) => (distanceTo(other) < distanceTo(best) ? other : best));
    const isFragment = Math.max(component.box.height, component.box.width) >= constants.MIN_FRAGMENT_SIZE * height;
    if (isFragment && distanceTo(nearest) <= constants.MAX_FRAGMENT_DISTANCE * height)
      lines.find((line) => line.includes(nearest)).push(component);
  }
  const meanTop = (line) => sum(line.map((c) => c.box.top)) / line.length;
  return lines.sort((a, b) => meanTop(a) - meanTop(b));
}

// Whether two boxes are side by side, or are fragments of one digit above each other.
function inSameLine(a, b, height) {
  const rows = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
  const columns = Math.min(a.right, b.right) - Math.max(a.left, b.left);
  return rows >= constants.MIN_OVERLAP * Math.min(a.height, b.height)
    || (columns >= constants.MIN_OVERLAP * Math.min(a.width, b.width) && -rows <= constants.MAX_STACK_GAP * height);
}

function distance(a, b) {
  return Math.max(0, b.top - a.bottom, b.left - a.right, a.top - b.bottom, a.left - b.right);
}

// The typical height of the digits, where components above each other count as one digit.
function lineHeight(line) {
  const stacks = [];
  for (const { box, pixels } of [...line].sort((a, b) => a.box.left - b.box.left)) {
    const last = stacks.at(-1), overlap = last && Math.min(last.box.right, box.right) - box.left;
    if (last && overlap >= constants.MIN_OVERLAP * Math.min(last.box.width, box.width)) {
      last.box = union(last.box, box);
      last.numPixels += pixels.length;
    } else stacks.push({ box, numPixels: pixels.length });
  }
  return weightedMedian(stacks.map((s) => s.box.height), stacks.map((s) => s.numPixels));
}

