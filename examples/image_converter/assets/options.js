/** What new images become: format, size, quality. Kept in this browser. */

import { texts } from "./texts.js";

const STORED = "image-converter.options";
const byId = (id) => document.getElementById(id);
const radios = [...document.querySelectorAll("input[name=format]")];
const side = byId("side");
const pixels = byId("pixels");
const quality = byId("quality");
const chosen = { qualities: {} }; // by format, where the visitor has moved the slider

const checked = () => radios.find((radio) => radio.checked);

/** As the API server wants it; undefined if the size makes no sense, which the page then shows. */
export function wish() {
  if (side.value === "custom" && !pixels.reportValidity()) return undefined;
  return {
    format: checked().value,
    side: side.value === "custom" ? pixels.value : side.value,
    quality: quality.disabled ? "" : quality.value,
  };
}

function show() {
  const { value, dataset } = checked();
  const has = dataset.quality !== "";
  quality.disabled = !has;
  quality.value = has ? (chosen.qualities[value] ?? dataset.quality) : 100;
  byId("quality-text").value = has ? quality.value : texts.lossless;
  quality.setAttribute("aria-valuetext", byId("quality-text").value);
  pixels.hidden = side.value !== "custom";
  pixels.required = !pixels.hidden;
  byId("target").textContent = dataset.label;
}

function store() {
  const kept = { format: checked().value, side: side.value, pixels: pixels.value, qualities: chosen.qualities };
  try {
    localStorage.setItem(STORED, JSON.stringify(kept));
  } catch {
    // Then the next visit begins with the defaults.
  }
}

function restore() {
  try {
    const kept = JSON.parse(localStorage.getItem(STORED) ?? "{}");
    for (const radio of radios) if (radio.value === kept.format) radio.checked = true;
    if ([...side.options].some(({ value }) => value === kept.side)) side.value = kept.side;
    if (Number(kept.pixels) > 0) pixels.value = kept.pixels;
    Object.assign(chosen.qualities, kept.qualities);
  } catch {
    // Somebody else's words: the defaults will do.
  }
}

for (const radio of radios) radio.onchange = () => (show(), store());
side.onchange = () => {
  show();
  store();
  if (side.value === "custom") pixels.focus();
};
pixels.oninput = store;
quality.oninput = () => {
  chosen.qualities[checked().value] = quality.value;
  show();
  store();
};
restore();
show();
