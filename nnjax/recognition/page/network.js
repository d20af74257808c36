// The network: the same computation as nnjax.feedforward and nnjax.ConvNet.

const ACTIVATIONS = {
  sigmoid: (z) => z.map((x) => 1 / (1 + Math.exp(-x))),
  tanh: (z) => z.map(Math.tanh),
  relu: (z) => z.map((x) => Math.max(0, x)),
  heaviside: (z) => z.map((x) => (x > 0 ? 1 : 0)),
  identity: (z) => z,
  softmax: (z) => {
    const e = z.map((x) => Math.exp(x - Math.max(...z)));
    return e.map((x) => x / sum(e));
  },
};

// The activations of all dense layers for an image from 0 to 255; those of the output layer are last.
function feedforward(image) {
  let a = features(Array.from(image, (x) => x / 255));
  return model.layers.map(({ w, b, activation }) => {
    const n = a.length, nonzero = [];
    for (let i = 0; i < n; i++) if (a[i]) nonzero.push(i);
    const z = Array.from(b);
    for (let j = 0; j < z.length; j++)
      for (let k = 0; k < nonzero.length; k++) z[j] += w[j * n + nonzero[k]] * a[nonzero[k]];
    a = ACTIVATIONS[activation](z);
    return a;
  });
}

// The input of the first dense layer: the output of the last pooling, or the image if there is no convolution.
// Feature maps are stored row by row, column by column, channel by channel.
function features(a) {
  let width = model.imageShape[1], channels = 1;
  for (const layer of model.convolutions) {
    a = ACTIVATIONS[layer.activation](conv2d(a, width, channels, layer, model.kernelSize));
    width = width - model.kernelSize + 1;
    channels = layer.b.length;
    a = maxPool(a, width, channels);
    width = Math.floor(width / 2);
  }
  return a;
}

function conv2d(a, width, channels, { w, b }, kernelSize) {
  const height = a.length / (width * channels), length = kernelSize * channels, result = [];
  for (let top = 0; top <= height - kernelSize; top++)
    for (let left = 0; left <= width - kernelSize; left++)
      for (let j = 0; j < b.length; j++) {
        let z = b[j];
        for (let r = 0, k = j * kernelSize * length; r < kernelSize; r++) {
          const start = ((top + r) * width + left) * channels;
          for (let i = 0; i < length; i++, k++) z += w[k] * a[start + i];
        }
        result.push(z);
      }
  return result;
}

// The maximum of each 2x2 block; an odd last row or column is dropped.
function maxPool(a, width, channels) {
  const rows = Math.floor(a.length / (width * channels) / 2), columns = Math.floor(width / 2), result = [];
  for (let r = 0; r < rows; r++)
    for (let c = 0; c < columns; c++)
      for (let j = 0; j < channels; j++) {
        const i = (2 * r * width + 2 * c) * channels + j, below = i + width * channels;
        result.push(Math.max(a[i], a[i + channels], a[below], a[below + channels]));
      }
  return result;
}

