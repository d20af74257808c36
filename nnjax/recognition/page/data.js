"use strict";
// The constants of the Python modules and the model, whose arrays are float32 in base64.
const { constants, model } = (() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const decode = (text) => new Float32Array(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
  const decodeAll = (part, ...names) => names.forEach((name) => { part[name] = decode(part[name]); });
  for (const layer of [...data.model.convolutions, ...data.model.layers]) decodeAll(layer, "w", "b");
  if (data.model.outlierModel) decodeAll(data.model.outlierModel, "means", "directions");
  return data;
})();

const sum = (a) => a.reduce((x, y) => x + y, 0);
const argmax = (a) => a.reduce((best, x, i) => (x > a[best] ? i : best), 0);
const roundHalfToEven = (x) => (x % 1 === 0.5 ? 2 * Math.round(x / 2) : Math.round(x)); // as Python's round

