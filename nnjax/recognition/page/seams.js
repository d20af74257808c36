// Where a line is cut, and what may be a digit: `nnjax.images.seams` and `cuts`, number by number.
// A mask is an array of rows, Uint8Arrays: 1 where there is ink.

function findSeams(mask, height) {
  const rows = mask.length, columns = mask[0].length;
  const places = [new Int32Array(rows), new Int32Array(rows).fill(columns)];
  const down = cheapest(mask), up = cheapest([...mask].reverse());
  const apart = Math.max(1, Math.floor(C.ROWS * height), Math.floor(rows / C.MOST_ROWS));
  for (let row = Math.min(apart, rows >> 1); row < rows; row += apart) {
    const below = rows - 1 - row;
    const total = down.total[row].map((cost, x) => cost + up.total[below][x] - C.PAIR * across(mask[row], x));
    for (const x of choose(total, height))
      places.push([...back(down.from, row, x).reverse(), ...back(up.from, below, x).slice(1)]);
  }
  return distinct(places, mask);
}

// Whether there is ink on both sides of place x.
function across(row, x) {
  return x > 0 && x < row.length ? row[x - 1] & row[x] : 0;
}

// What the cheapest way from the first row to each place costs, and where it was in the row before.
// Of equal ways the straightest is taken, of these the one from the left.
function cheapest(mask) {
  const places = mask[0].length + 1, from = [null];
  const total = [Int32Array.from({ length: places }, (_, x) => C.PAIR * across(mask[0], x))];
  for (let r = 1; r < mask.length; r++) {
    const above = total[r - 1], row = mask[r], last = mask[r - 1], cost = above.slice(), came = new Int32Array(places);
    for (let x = 1, leap = Infinity, at = 0; x < places; x++) {
      const crossed = C.PAIR * (row[x - 1] & last[x - 1]), next = above[x - 1] + crossed;
      leap += crossed + C.LEAP;
      if (next + C.LEAP <= leap) { leap = next + C.LEAP; at = x - 1; }
      came[x] = x;
      if (next + C.STEP < cost[x]) { cost[x] = next + C.STEP; came[x] = x - 1; }
      if (leap < cost[x]) { cost[x] = leap; came[x] = at; }
    }
    for (let x = places - 2, leap = Infinity, at = 0; x >= 0; x--) {
      const crossed = C.PAIR * (row[x] & last[x]), next = above[x + 1] + crossed, step = next + C.STEP;
      leap += crossed + C.LEAP;
      if (next + C.LEAP <= leap) { leap = next + C.LEAP; at = x + 1; }
      if (step < cost[x] || (step === cost[x] && came[x] < x - 1)) { cost[x] = step; came[x] = x + 1; }
      if (leap < cost[x] || (leap === cost[x] && at - x < x - came[x])) { cost[x] = leap; came[x] = at; }
    }
    for (let x = 1; x < places - 1; x++) cost[x] += C.PAIR * (row[x - 1] & row[x]);
    total.push(cost);
    from.push(came);
  }
  return { total, from };
}

function back(from, row, x) {
  const way = [x];
  for (let r = row; r > 0; r--) way.push((x = from[r][x]));
  return way;
}

function choose(total, height) {
  const near = Math.max(1, Math.floor(C.NEAR * height)), asunder = Math.max(1, Math.floor(C.ASUNDER * height));
  const found = [];
  total.forEach((cost, x) => {
    if (cost > C.PAIR * C.DEAREST * height || x - (found.at(-1) ?? -Infinity) < asunder) return;
    for (let i = Math.max(0, x - near); i <= Math.min(total.length - 1, x + near); i++) if (total[i] < cost) return;
    found.push(x);
  });
  return found;
}

// Of seams that part the ink in the same way the cheapest, from left to right.
function distinct(places, mask) {
  const columns = mask[0].length, known = new Map();
  const next = mask.map((row) => {
    const at = new Int32Array(columns + 1).fill(columns);
    for (let x = columns - 1; x >= 0; x--) at[x] = row[x] ? x : at[x + 1];
    return at;
  });
  const last = mask.map((row) => {
    const at = new Int32Array(columns + 1);
    for (let x = 1; x <= columns; x++) at[x] = row[x - 1] ? x : at[x - 1];
    return at;
  });
  for (const way of places) {
    let cost = 0, inked = 0, name = 0;
    for (let r = 0; r < mask.length; r++) {
      cost += across(mask[r], way[r]);
      const before = way[Math.max(0, r - 1)];
      for (let x = Math.min(way[r], before); x < Math.max(way[r], before); x++) cost += mask[r][x] & mask[r - 1][x];
      inked += next[r][way[r]];
      name = (Math.imul(name, 31) + next[r][way[r]]) | 0;
    }
    while (known.has(name) && known.get(name).begins.some((x, r) => x !== next[r][way[r]])) name++;
    if (known.has(name)) known.get(name).cost = Math.min(cost, known.get(name).cost);
    else known.set(name, { begins: next.map((at, r) => at[way[r]]), ends: last.map((at, r) => at[way[r]]), cost, inked });
  }
  const lower = (a, b) => a.begins.find((x, r) => x !== b.begins[r]) - b.begins.find((x, r) => x !== a.begins[r]);
  return [...known.values()].sort((a, b) => a.inked - b.inked || lower(a, b));
}

// What lies between two seams and is not too wide; what no seam parts further, however wide.
// What is named in `known` is taken from there, all but its costs.
function candidatesOf(line, height, width, known) {
  const place = line.map((mark) => mark.box).reduce(around);
  const mask = Array.from({ length: place.height }, () => new Uint8Array(place.width));
  for (const { pixels } of line) for (const p of pixels) mask[Math.floor(p / width) - place.top][(p % width) - place.left] = 1;
  const seams = findSeams(mask, height), end = seams.length - 1, found = [];
  for (let first = 0; first < end; first++) {
    let narrowest = true;
    for (let last = first + 1; last <= end; last++) {
      const box = (last <= first + C.NEXT || last === end) && boxBetween(seams[first], seams[last]);
      if (!box) continue;
      if (narrowest || box.width <= C.MOST_WIDE * Math.max(height, box.height))
        found.push({ ...between(seams[first].begins, seams[last].begins, box), first, last });
      narrowest = false;
    }
  }
  for (const c of found)
    c.cost = (seams[c.last].cost > 0) * C.CUT + (C.THROUGH * seams[c.last].cost + C.APART * c.apart) / height
      + C.WIDE * Math.max(0, c.box.width / Math.max(height, c.box.height) - C.WIDEST)
      + C.LOW * Math.max(0, C.LOWEST - c.box.height / height);
  return found;

  function between(begins, ends, { top, left, bottom, right }) {
    const box = measured({ top: top + place.top, left: left + place.left, bottom: bottom + place.top, right: right + place.left });
    let name = 0;
    for (let r = top; r < bottom; r++) name = (Math.imul(name, 31) + (begins[r] + place.left) * width + ends[r] + place.left) | 0;
    name = [name, ...Object.values(box)].join();
    if (known.has(name)) return known.get(name);
    const pixels = [], inked = new Uint8Array(right - left);
    for (let r = top; r < bottom; r++)
      for (let c = begins[r]; c < ends[r]; c++)
        if (mask[r][c]) { pixels.push((r + place.top) * width + c + place.left); inked[c - left] = 1; }
    return { name, pixels, apart: box.width - sum(inked), box };
  }
}

// The box around what is between two seams; null where the second is not to the right of the first.
function boxBetween({ begins }, { begins: beyond, ends }) {
  let top = -1, bottom = 0, left = Infinity, right = 0;
  for (let r = 0; r < begins.length; r++) {
    if (beyond[r] < begins[r]) return null;
    if (beyond[r] === begins[r]) continue;
    if (top < 0) top = r;
    bottom = r + 1;
    left = Math.min(left, begins[r]);
    right = Math.max(right, ends[r]);
  }
  return measured({ top, left, bottom, right });
}
