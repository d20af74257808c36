// The ink of a digit as an image in the layout of the training images: the same computation as `crop_digit`
// in candidates.py and `normalize_digit` in digit_layout.py.

// The rows of a digit's ink, cropped: its pixels, and the soft edge around them that belongs to no component.
function cropDigit(ink, occupied, { pixels, box }, width, height) {
  const top = Math.max(box.top - 1, 0), left = Math.max(box.left - 1, 0), rightmost = Math.min(box.right, width - 1);
  const numColumns = rightmost + 1 - left, hasInk = new Uint8Array(numColumns);
  const digit = Array.from({ length: Math.min(box.bottom + 1, height) - top }, () => new Float32Array(numColumns));
  for (const p of pixels) {
    const row = Math.floor(p / width), column = p % width;
    for (let r = Math.max(top, row - 1); r <= Math.min(height - 1, row + 1); r++)
      for (let c = Math.max(left, column - 1); c <= Math.min(rightmost, column + 1); c++) {
        const neighbor = r * width + c;
        if ((neighbor === p || !occupied[neighbor]) && ink[neighbor]) {
          digit[r - top][c - left] = ink[neighbor];
          hasInk[c - left] = 1;
        }
      }
  }
  const rows = digit.filter((row) => row.some((x) => x > 0));
  return rows.map((row) => row.subarray(hasInk.indexOf(1), hasInk.lastIndexOf(1) + 1));
}

// The number of pixels around a digit that the detector of digits sees, too.
const marginOf = ({ top, left, bottom, right }) => Math.ceil(constants.MARGIN * Math.max(bottom - top, right - left));

// The other strokes in the box of a digit and in a margin around it, as in candidates.py.
function strokesAround(occupied, { pixels, box }, width, height) {
  const margin = marginOf(box), top = box.top - margin, left = box.left - margin;
  const rows = Array.from({ length: box.bottom - box.top + 2 * margin }, (_, i) => {
    const row = new Float32Array(box.right - box.left + 2 * margin), r = top + i;
    if (r >= 0 && r < height)
      for (let c = Math.max(0, left); c < Math.min(width, left + row.length); c++) row[c - left] = occupied[r * width + c];
    return row;
  });
  for (const p of pixels) rows[Math.floor(p / width) - top][(p % width) - left] = 0;
  return rows;
}

// The rows, scaled to fit into an image and centered.
function fitted(rows, [imageHeight, imageWidth]) {
  const scale = Math.min(imageHeight / rows.length, imageWidth / rows[0].length);
  const [height, width] = [rows.length, rows[0].length].map((n) => Math.max(1, roundHalfToEven(n * scale)));
  const top = Math.floor((imageHeight - height) / 2), left = Math.floor((imageWidth - width) / 2);
  const image = new Uint8Array(imageHeight * imageWidth);
  transpose(resizeRows(transpose(resizeRows(rows, width)), height)).forEach((row, r) => row.forEach((x, c) => {
    image[(top + r) * imageWidth + left + c] = roundHalfToEven(255 * x);
  }));
  return image;
}

// Each row resized to `size` numbers by Pillow's box filter.
function resizeRows(rows, size) {
  const length = rows[0].length, scale = length / size, support = Math.max(scale, 1) / 2;
  const filters = Array.from({ length: size }, (_, i) => {
    const center = (i + 0.5) * scale;
    const from = Math.max(0, Math.floor(center - support + 0.5)), to = Math.min(length, Math.floor(center + support + 0.5));
    const weights = Array.from({ length: to - from }, (_, j) => {
      const x = (j + from - center + 0.5) / (2 * support);
      return x > -0.5 && x <= 0.5 ? 1 : 0;
    });
    const total = sum(weights);
    return { from, weights: weights.map((x) => x / total) };
  });
  return rows.map((row) => {
    const resized = new Float32Array(size);
    filters.forEach(({ from, weights }, i) => {
      let total = 0;
      for (let j = 0; j < weights.length; j++) total += weights[j] * row[from + j];
      resized[i] = total;
    });
    return resized;
  });
}

function transpose(rows) {
  const columns = Array.from(rows[0], () => new Float32Array(rows.length));
  for (let r = 0; r < rows.length; r++) for (let c = 0; c < columns.length; c++) columns[c][r] = rows[r][c];
  return columns;
}

function normalizeDigit(ink, { imageShape: [imageHeight, imageWidth], layout: { box, stretched } } = model) {
  const scale = Math.max(...box) / Math.max(ink.length, ink[0].length);
  const [height, width] = stretched
    ? box
    : [ink.length, ink[0].length].map((n) => Math.max(1, roundHalfToEven(n * scale)));
  const resized = transpose(resizeRows(transpose(resizeRows(ink, width)), height));
  const digit = (stretched ? resized : thickened(resized)).map((row) => Array.from(row, (x) => roundHalfToEven(255 * Math.min(1, Math.max(0, x)))));
  const columnMass = digit[0].map((_, c) => sum(digit.map((row) => row[c])));
  const [top, left] = stretched
    ? [Math.floor((imageHeight - height) / 2), Math.floor((imageWidth - width) / 2)]
    : [centeredStart(digit.map(sum), imageHeight), centeredStart(columnMass, imageWidth)];
  const image = new Uint8Array(imageHeight * imageWidth);
  digit.forEach((row, r) => row.forEach((x, c) => { image[(top + r) * imageWidth + left + c] = x; }));
  return image;
}

// Strokes that are thinner than those of the training images become thicker and darker.
function thickened(rows) {
  const { THIN_GROWTH, THINNEST_GROWTH } = constants;
  const at = (r, c) => rows[r]?.[c] ?? 0, near = [-1, 0, 1];
  const dilated = rows.map((row, r) => Array.from(row, (_, c) => Math.max(...near.flatMap((i) => near.map((j) => at(r + i, c + j))))));
  const total = (image) => sum(image.map((row) => sum(Array.from(row))));
  const growth = total(dilated) / Math.max(total(rows), 1e-6);
  const thinness = Math.min(1, Math.max(0, (growth - THIN_GROWTH) / (THINNEST_GROWTH - THIN_GROWTH)));
  const gain = 1 + thinness * (1 / Math.max(0.1, ...dilated.flat()) - 1);
  return rows.map((row, r) => Array.from(row, (x, c) => gain * Math.max(x, thinness * dilated[r][c])));
}

function centeredStart(mass, length) {
  const center = sum(mass.map((m, i) => m * (i + 0.5))) / Math.max(sum(mass), 1);
  return Math.max(0, Math.min(length - mass.length, Math.ceil(length / 2 - center)));
}

