// Probabilities and outlier scores: the same computation as in calibration.py and outliers.py.

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

function outlierScore(image, label) {
  if (!model.outlierModel) return 0;
  const { means, directions, noiseVariance, center, scale } = model.outlierModel, n = image.length;
  const x = Array.from(image, (v, i) => v / 255 - means[label * n + i]);
  let residual = sum(x.map((v) => v * v)), squaredDistance = 0;
  for (let d = 0; d < directions.length; d += n) {
    let z = 0, precision = 0;
    for (let i = 0; i < n; i++) { z += directions[d + i] * x[i]; precision += directions[d + i] ** 2; }
    squaredDistance += z * z;
    residual -= (z * z) / precision;
  }
  return (Math.sqrt(squaredDistance + Math.max(0, residual) / noiseVariance) - center) / scale;
}

// The prediction for an image of a digit, with all activations, probabilities and the outlier score.
function classify(image) {
  const layers = feedforward(image), p = ttaProbabilities(image, layers);
  const label = argmax(p.slice(0, model.numClasses));
  return { image, layers, p, label, confidence: p[label], outlierScore: outlierScore(image, label) };
}

