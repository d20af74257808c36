// Recognition of the drawing: the same result as `read_picture` for strokes of a pen that do not touch the border,
// if the digits are at least HEIGHT_PX of strokes.py high. Python enlarges lower ones.

// The last drawing that was recognized, and its candidates by key. A stroke changes only a part of the
// drawing, and candidates in other parts are used again.
const cache = { ink: null, occupied: null, candidates: new Map() };

// Removes all candidates near pixels whose ink changed, or that now belong to a component or no longer do.
function invalidate(ink, occupied, width) {
  if (cache.ink?.length !== ink.length) cache.candidates.clear();
  const changed = [];
  for (let p = 0; p < ink.length; p++)
    if (cache.ink?.[p] !== ink[p] || cache.occupied[p] !== occupied[p]) changed.push(p);
  const { top, left, bottom, right } = boundingBox(changed, width);
  for (const [key, { box }] of cache.candidates) {
    const margin = 1 + marginOf(box);
    if (box.top - margin < bottom && box.bottom + margin > top && box.left - margin < right && box.right + margin > left)
      cache.candidates.delete(key);
  }
  Object.assign(cache, { ink: ink.slice(), occupied });
}

// The largest possible score if the network has not classified the candidate yet.
function setScore(c) {
  c.score = Math.log((c.image ? c.confidence : 1) + constants.PROBABILITY_OFFSET) - c.penalty;
}

// The probabilities of digits, if they are as frequent as in this drawing: the same computation as in rejection.py.
function adaptedProbabilities(p) {
  const { EPSILON, ITERATIONS, PRIOR_COUNT, TEMPERATURE } = constants;
  const clipped = p.map((x) => Math.min(Math.max(x, EPSILON), 1 - EPSILON));
  const odds = clipped.map((x) => (x / (1 - x)) ** (1 / TEMPERATURE));
  let prior = 0.5, adapted = [];
  for (let i = 0; i < ITERATIONS; i++) {
    adapted = odds.map((x) => prior * x / (prior * x + 1 - prior));
    prior = (PRIOR_COUNT + sum(adapted)) / (2 * PRIOR_COUNT + p.length);
  }
  return adapted;
}

// The candidates of each line that are digits, given all others.
function digitsOf(sequences) {
  const { MAX_NO_DIGIT_PROBABILITY, MIN_DIGIT_PROBABILITY } = constants;
  const adapted = adaptedProbabilities(sequences.flat().map((c) => c.digitProbability)).values();
  return sequences.map((sequence) => sequence
    .map((c) => ({ ...c, adapted: adapted.next().value }))
    .filter((c) => c.adapted >= MIN_DIGIT_PROBABILITY && c.p.at(-1) < MAX_NO_DIGIT_PROBABILITY)
    .map((c) => ({ ...c, confidence: c.p[c.label] * c.adapted })));
}

// The lines of the drawing, each an array of its digits.
function read(ink, width, height) {
  const lines = findLines(ink, width, height);
  if (!lines.length) return [];
  const occupied = new Uint8Array(ink.length), candidatesByKey = new Map();
  for (const { pixels } of lines.flat()) for (const p of pixels) occupied[p] = 1;
  invalidate(ink, occupied, width);
  const sequences = lines.map((line) => {
    const candidates = findCandidates(line, lineHeight(line), width, cache.candidates);
    for (const c of candidates) { setScore(c); candidatesByKey.set(c.key, c); }
    for (;;) { // classifies only candidates of the best sequence: scores of the others can only become smaller
      const best = bestSequence(candidates), unclassified = best.filter((c) => !c.image);
      if (!unclassified.length) return best;
      for (const c of unclassified) {
        const digit = cropDigit(ink, occupied, c, width, height);
        setScore(Object.assign(c, classify(digit, strokesAround(occupied, c, width, height))));
      }
    }
  });
  cache.candidates = candidatesByKey;
  return digitsOf(sequences).filter((line) => line.length);
}

