// Convolution and pooling, as nnjax.convnet has them: numbers lie row by row, column by column, channel by channel.

function convolved(a, width, n_in, n_out, { w, b }, side) {
  const height = a.length / (width * n_in), across = width - side + 1, made = [];
  for (let top = 0; top <= height - side; top++)
    for (let left = 0; left < across; left++)
      for (let j = 0; j < n_out; j++) {
        let z = b[j];
        for (let r = 0, k = j * side * side * n_in; r < side; r++) {
          const start = ((top + r) * width + left) * n_in;
          for (let i = 0; i < side * n_in; i++, k++) z += w[k] * a[start + i];
        }
        made.push(z);
      }
  return made;
}

// The largest of each 2 x 2; an odd last row or column is left out.
function pooled(a, width, channels) {
  const rows = Math.floor(a.length / (width * channels) / 2), columns = Math.floor(width / 2), made = [];
  for (let r = 0; r < rows; r++)
    for (let c = 0; c < columns; c++)
      for (let j = 0; j < channels; j++) {
        const at = (2 * r * width + 2 * c) * channels + j, below = at + width * channels;
        made.push(Math.max(a[at], a[at + channels], a[below], a[below + channels]));
      }
  return made;
}

// What the dense layers see of an image: itself, or what the convolutions make of it.
function seen(a) {
  let width = model.shape[1], n_in = 1;
  for (const layer of model.convolutions) {
    const n_out = layer.b.length, side = model.side;
    a = ACTIVATIONS[layer.activation](convolved(a, width, n_in, n_out, layer, side));
    width = width - side + 1;
    a = pooled(a, width, n_out);
    [width, n_in] = [Math.floor(width / 2), n_out];
  }
  return a;
}
