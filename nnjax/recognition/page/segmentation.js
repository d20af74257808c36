// Seams and candidates for digits: the same computation as in segmentation.py.
// A mask is an array of rows, each a Uint8Array: 1 for ink. A path is an array of positions, one per row;
// position x is to the left of column x. A seam is { nextInk, previousEnd, cutPairs }.

function findSeams(mask, height) {
  const rows = mask.length, columns = mask[0].length;
  const paths = [new Int32Array(rows), new Int32Array(rows).fill(columns)];
  const fromTop = cheapestPaths(mask), fromBottom = cheapestPaths([...mask].reverse());
  const spacing = Math.max(1, Math.floor(constants.SEAM_ROW_SPACING * height), Math.floor(rows / constants.MAX_SEAM_ROWS));
  for (let row = Math.min(spacing, rows >> 1); row < rows; row += spacing) {
    const mirrored = rows - 1 - row;
    const cost = fromTop.total[row].map( // both directions count the pair in this row
      (total, x) => total + fromBottom.total[mirrored][x] - constants.PAIR_COST * pairInRow(mask[row], x));
    for (const x of localMinima(cost, height)) {
      const up = traceBack(fromTop.previous, row, x), down = traceBack(fromBottom.previous, mirrored, x);
      paths.push([...up.reverse(), ...down.slice(1)]);
    }
  }
  return distinctSeams(paths, mask);
}

// Whether position x separates a pair of ink pixels.
function pairInRow(row, x) {
  return x > 0 && x < row.length ? row[x - 1] & row[x] : 0;
}

// The cost of the cheapest path from the first row to each position, and its position in the row above.
// Among equally cheap paths it is the one that moves sideways least, and among these the one from the left.
function cheapestPaths(mask) {
  const { PAIR_COST, STEP_COST, JUMP_COST } = constants;
  const length = mask[0].length + 1, previous = [null];
  const total = [Int32Array.from({ length }, (_, x) => PAIR_COST * pairInRow(mask[0], x))];
  for (let r = 1; r < mask.length; r++) {
    const above = total[r - 1], row = mask[r], rowAbove = mask[r - 1], cost = above.slice(), from = new Int32Array(length);
    for (let x = 1, jump = Infinity, start = 0; x < length; x++) { // from the left; a jump begins at start
      const pair = PAIR_COST * (row[x - 1] & rowAbove[x - 1]), neighbor = above[x - 1] + pair;
      jump += pair + JUMP_COST;
      if (neighbor + JUMP_COST <= jump) { jump = neighbor + JUMP_COST; start = x - 1; }
      from[x] = x;
      if (neighbor + STEP_COST < cost[x]) { cost[x] = neighbor + STEP_COST; from[x] = x - 1; }
      if (jump < cost[x]) { cost[x] = jump; from[x] = start; }
    }
    for (let x = length - 2, jump = Infinity, start = 0; x >= 0; x--) { // from the right
      const pair = PAIR_COST * (row[x] & rowAbove[x]), neighbor = above[x + 1] + pair, step = neighbor + STEP_COST;
      jump += pair + JUMP_COST;
      if (neighbor + JUMP_COST <= jump) { jump = neighbor + JUMP_COST; start = x + 1; }
      if (step < cost[x] || (step === cost[x] && from[x] < x - 1)) { cost[x] = step; from[x] = x + 1; }
      if (jump < cost[x] || (jump === cost[x] && start - x < x - from[x])) { cost[x] = jump; from[x] = start; }
    }
    for (let x = 1; x < length - 1; x++) cost[x] += PAIR_COST * pairInRow(row, x);
    total.push(cost);
    previous.push(from);
  }
  return { total, previous };
}

// The cheapest path to a position of a row, from there back to the first row.
function traceBack(previous, row, x) {
  const path = [x];
  for (let r = row; r > 0; r--) path.push((x = previous[r][x]));
  return path;
}

// The positions of a row that are cheap enough, cheapest in their window and not too close.
function localMinima(cost, height) {
  const radius = Math.max(1, Math.floor(constants.SEAM_WINDOW * height));
  const minDistance = Math.max(1, Math.floor(constants.MIN_SEAM_DISTANCE * height));
  const maxCost = constants.PAIR_COST * constants.MAX_SEAM_PAIRS * height, minima = [];
  cost.forEach((atX, x) => {
    if (atX > maxCost || x - (minima.at(-1) ?? -Infinity) < minDistance) return;
    for (let i = Math.max(0, x - radius); i <= Math.min(cost.length - 1, x + radius); i++) if (cost[i] < atX) return;
    minima.push(x);
  });
  return minima;
}

// The seams from left to right; of those that separate the ink in the same way, the cheapest.
function distinctSeams(paths, mask) {
  const columns = mask[0].length, seams = new Map();
  const nextInk = mask.map((row) => {
    const next = new Int32Array(columns + 1).fill(columns);
    for (let x = columns - 1; x >= 0; x--) next[x] = row[x] ? x : next[x + 1];
    return next;
  });
  const previousEnd = mask.map((row) => {
    const end = new Int32Array(columns + 1);
    for (let x = 1; x <= columns; x++) end[x] = row[x - 1] ? x : end[x - 1];
    return end;
  });
  for (const path of paths) {
    let cutPairs = 0, total = 0, hash = 0;
    for (let r = 0; r < mask.length; r++) {
      const x = path[r], above = path[Math.max(0, r - 1)];
      cutPairs += pairInRow(mask[r], x);
      for (let c = Math.min(x, above); c < Math.max(x, above); c++) cutPairs += mask[r][c] & mask[r - 1][c];
      total += nextInk[r][x];
      hash = (Math.imul(hash, 31) + nextInk[r][x]) | 0;
    }
    const separatesOtherwise = (seam) => seam.nextInk.some((next, r) => next !== nextInk[r][path[r]]);
    while (seams.has(hash) && separatesOtherwise(seams.get(hash))) hash++;
    if (seams.has(hash)) seams.get(hash).cutPairs = Math.min(cutPairs, seams.get(hash).cutPairs);
    else seams.set(hash, {
      nextInk: nextInk.map((row, r) => row[path[r]]), previousEnd: previousEnd.map((row, r) => row[path[r]]),
      cutPairs, total,
    });
  }
  const firstDifference = (a, b) => a.nextInk.find((x, r) => x !== b.nextInk[r]);
  return [...seams.values()].sort((a, b) => a.total - b.total || firstDifference(a, b) - firstDifference(b, a));
}

// The candidates in a line of components: the ink between two seams if it is not too wide. A candidate that no
// seam divides is included even if it is too wide. Candidates in `cache`, by key, are used again.
function findCandidates(line, height, width, cache) {
  const origin = line.map((component) => component.box).reduce(union);
  const mask = Array.from({ length: origin.height }, () => new Uint8Array(origin.width));
  for (const { pixels } of line)
    for (const p of pixels) mask[Math.floor(p / width) - origin.top][(p % width) - origin.left] = 1;
  const seams = findSeams(mask, height), end = seams.length - 1, candidates = [];
  for (let first = 0; first < end; first++) {
    let isNarrowest = true;
    for (let last = first + 1; last <= end; last++) {
      const isNear = last <= first + constants.MAX_SEAMS_PER_DIGIT || last === end;
      const box = isNear && boxBetween(seams[first], seams[last]);
      if (!box) continue;
      if (isNarrowest || box.width <= constants.MAX_DIGIT_WIDTH * Math.max(height, box.height))
        candidates.push({ ...pixelsBetween(seams[first].nextInk, seams[last].nextInk, box), first, last });
      isNarrowest = false;
    }
  }
  for (const c of candidates) c.penalty = penalty(c, seams[c.last].cutPairs, height);
  return candidates;

  function pixelsBetween(begin, end, { top, left, bottom, right }) {
    const box = withSize({
      top: top + origin.top, left: left + origin.left, bottom: bottom + origin.top, right: right + origin.left,
    });
    let hash = 0;
    for (let r = top; r < bottom; r++)
      hash = (Math.imul(hash, 31) + (begin[r] + origin.left) * width + end[r] + origin.left) | 0;
    const key = [hash, ...Object.values(box)].join();
    if (cache.has(key)) return cache.get(key);
    const pixels = [], hasInk = new Uint8Array(right - left);
    for (let r = top; r < bottom; r++)
      for (let c = begin[r]; c < end[r]; c++)
        if (mask[r][c]) { pixels.push((r + origin.top) * width + c + origin.left); hasInk[c - left] = 1; }
    return { key, pixels, blankColumns: box.width - sum(hasInk), box };
  }
}

// The penalty for a candidate.
function penalty({ box, blankColumns }, cutPairs, height) {
  return (constants.CUT_LENGTH_PENALTY * cutPairs + constants.GAP_PENALTY * blankColumns) / height
    + constants.WIDTH_PENALTY * Math.max(0, box.width / Math.max(height, box.height) - constants.MAX_FREE_WIDTH)
    + constants.HEIGHT_PENALTY * Math.max(0, constants.MIN_FREE_HEIGHT - box.height / height);
}

// The box around the ink between two seams; null if the second one is not to the right of the first.
function boxBetween({ nextInk: begin }, { nextInk: end, previousEnd }) {
  let top = -1, bottom = 0, left = Infinity, right = 0;
  for (let r = 0; r < begin.length; r++) {
    if (end[r] < begin[r]) return null;
    if (end[r] === begin[r]) continue;
    if (top < 0) top = r;
    bottom = r + 1;
    left = Math.min(left, begin[r]);
    right = Math.max(right, previousEnd[r]);
  }
  return withSize({ top, left, bottom, right });
}

// The candidates that lead from the first seam to the last with the largest sum of scores.
// They must be in the order of their first seams.
function bestSequence(candidates) {
  const end = Math.max(...candidates.map((c) => c.last)), best = new Array(end + 1).fill(-Infinity), reachedBy = [];
  best[0] = 0;
  for (const c of candidates) {
    const total = best[c.first] + c.score;
    if (total > best[c.last]) { best[c.last] = total; reachedBy[c.last] = c; }
  }
  const sequence = [];
  for (let seam = end; seam; seam = reachedBy[seam].first) sequence.unshift(reachedBy[seam]);
  return sequence;
}

