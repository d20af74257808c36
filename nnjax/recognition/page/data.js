"use strict";
// The constants of the Python modules and the model, whose arrays are float32 in base64.
const { constants, model, digitDetector } = (() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const decode = (text) => new Float32Array(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
  for (const { convolutions, layers } of [data.model, data.digitDetector])
    for (const layer of [...convolutions, ...layers]) Object.assign(layer, { w: decode(layer.w), b: decode(layer.b) });
  return data;
})();

const sum = (a) => a.reduce((x, y) => x + y, 0);
const argmax = (a) => a.reduce((best, x, i) => (x > a[best] ? i : best), 0);
const roundHalfToEven = (x) => (x % 1 === 0.5 ? 2 * Math.round(x / 2) : Math.round(x)); // as Python's round

