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
function feedforward(image, network = model) {
  let a = features(Array.from(image, (x) => x / 255), network);
  return network.layers.map(({ w, b, activation }) => {
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
function features(a, { imageShape: [height, width], convolutions, convolutionSettings }) {
  let map = { a, height, width, channels: a.length / (height * width) };
  for (const layer of convolutions) {
    map = conv2d(map, layer, convolutionSettings);
    map = maxPool({ ...map, a: ACTIVATIONS[layer.activation](map.a) }, convolutionSettings);
  }
  return map.a;
}

// The positions of a kernel along an axis. With padding "SAME", the first one can be negative: outside the image.
function positions(side, size, stride, padding) {
  const isSame = padding === "SAME";
  const n = isSame ? Math.ceil(side / stride) : Math.floor((side - size) / stride) + 1;
  const before = isSame ? Math.floor(Math.max(0, (n - 1) * stride + size - side) / 2) : 0;
  return Array.from({ length: n }, (_, i) => i * stride - before);
}

// Each input that is not 0 adds to the outputs around it: most pixels of an image of a digit are 0.
function conv2d({ a, height, width, channels }, { w, b }, { kernel_size: [rows, columns], stride, padding }) {
  const tops = positions(height, rows, stride[0], padding), lefts = positions(width, columns, stride[1], padding);
  const n = b.length, result = new Float64Array(tops.length * lefts.length * n);
  for (let start = 0; start < result.length; start += n) result.set(b, start);
  for (let p = 0; p < a.length; p++) {
    if (!a[p]) continue;
    const channel = p % channels, x = Math.floor(p / channels) % width, y = Math.floor(p / (channels * width));
    for (let r = 0; r < rows; r++) {
      const i = (y - r - tops[0]) / stride[0];
      if (i < 0 || i >= tops.length || i % 1) continue;
      for (let c = 0; c < columns; c++) {
        const j = (x - c - lefts[0]) / stride[1];
        if (j < 0 || j >= lefts.length || j % 1) continue;
        const out = (i * lefts.length + j) * n, k = ((r * columns + c) * channels + channel) * n;
        for (let m = 0; m < n; m++) result[out + m] += w[k + m] * a[p];
      }
    }
  }
  return { a: result, height: tops.length, width: lefts.length, channels: n };
}

// The maximum of each block; incomplete blocks at the end are dropped.
function maxPool({ a, height, width, channels }, { pool: [rows, columns] }) {
  const tops = positions(height, rows, rows, "VALID"), result = [];
  const lefts = positions(width, columns, columns, "VALID");
  for (const top of tops)
    for (const left of lefts)
      for (let j = 0; j < channels; j++) {
        let largest = -Infinity;
        for (let r = top; r < top + rows; r++)
          for (let c = left; c < left + columns; c++)
            largest = Math.max(largest, a[(r * width + c) * channels + j]);
        result.push(largest);
      }
  return { a: result, height: tops.length, width: lefts.length, channels };
}

