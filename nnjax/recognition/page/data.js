"use strict";
// What Python has put into the page: constants and the model, its arrays as float32 in base64.
const { C, model } = (() => {
  const told = JSON.parse(document.getElementById("data").textContent);
  const numbers = (text) => new Float32Array(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
  const unpack = (part, ...names) => names.forEach((name) => { part[name] = numbers(part[name]); });
  [...told.model.convolutions, ...told.model.layers].forEach((layer) => unpack(layer, "w", "b"));
  if (told.model.likeness) unpack(told.model.likeness, "means", "directions");
  return told;
})();

