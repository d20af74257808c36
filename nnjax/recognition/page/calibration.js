// Probabilities: the same computation as in calibration.py and digit_detector.py.

// The probability of each label, and last of "no digit", for the outputs of one image.
function probabilities(outputs) {
  const { MIN_ACTIVATION } = constants;
  const a = outputs.map((x) => Math.min(1 - MIN_ACTIVATION, Math.max(MIN_ACTIVATION, x)));
  const logLikelihood = (code) => sum(a.map((x, j) => Math.log(code[j] ? x : 1 - x)));
  const scores = model.isSoftmax ? a.slice(0, model.numClasses).map(Math.log) : model.codes.map(logLikelihood);
  scores.push(model.hasNoDigit ? logLikelihood(a.map(() => 0)) : -Infinity);
  return ACTIVATIONS.softmax(scores);
}

// The calibrated mean over the image and its shifted copies. `layers` is feedforward(image).
function ttaProbabilities(image, layers) {
  const shifts = model.imageShape.map((length) => {
    const shift = roundHalfToEven(constants.SHIFT_FRACTION * length);
    return [...new Set([0, -shift, shift])];
  });
  const copies = [];
  for (const down of shifts[0])
    for (const across of shifts[1])
      copies.push(probabilities((down || across ? feedforward(shifted(image, down, across)) : layers).at(-1)));
  const mean = copies[0].map((_, k) => sum(copies.map((p) => p[k])) / copies.length);
  return ACTIVATIONS.softmax(mean.map((p) => Math.log(p) / model.temperature));
}

function shifted(image, down, across) {
  const [height, width] = model.imageShape, copy = new Uint8Array(image.length);
  for (let r = Math.max(0, down); r < Math.min(height, height + down); r++)
    for (let c = Math.max(0, across); c < Math.min(width, width + across); c++)
      copy[r * width + c] = image[(r - down) * width + c - across];
  return copy;
}

// The prediction for the ink of a digit and the strokes around it, with all activations if it is classified.
function classify(ink, others) {
  const image = normalizeDigit(ink), digit = hasLayoutOf(digitDetector) ? image : normalizeDigit(ink, digitDetector);
  const outputs = feedforward(detectorImage(digit, others), digitDetector).at(-1);
  const digitProbability = Math.max(...outputs.slice(0, constants.NO_DIGIT));
  if (digitProbability < constants.MIN_CLASSIFIED)
    return { image, p: [...Array(model.numClasses).fill(0), 1], label: 0, confidence: 0, digitProbability };
  const layers = feedforward(image), p = ttaProbabilities(image, layers), label = argmax(p.slice(0, model.numClasses));
  return { image, layers, p, label, confidence: p[label] * digitProbability, digitProbability };
}

// The image of a digit and the strokes around it, as the two channels of an image for the detector.
function detectorImage(digit, others) {
  const around = fitted(others, digitDetector.imageShape);
  return Uint8Array.from({ length: 2 * around.length }, (_, i) => (i % 2 ? around : digit)[i >> 1]);
}

const hasLayoutOf = ({ imageShape, layout }) =>
  JSON.stringify([model.imageShape, model.layout]) === JSON.stringify([imageShape, layout]);
