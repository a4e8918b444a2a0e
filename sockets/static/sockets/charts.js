// The charts of the last hour on the overview: drawn by uPlot, as wide as their place, in the
// colours of the admin's theme.

/**
 * @typedef {Record<string, (number | null)[]>} Samples
 * @typedef {{series: [string, string][], title: string, from0?: boolean}} Picture
 */

const place = document.getElementById("gateway-charts");
const labels = JSON.parse(document.getElementById("gateway-chart-texts")?.textContent ?? "{}");
/** @type {Samples} */
let samples = JSON.parse(document.getElementById("gateway-samples")?.textContent ?? '{"at": []}');

const HOUR = 3600;
const HEIGHT = 140;
const WHOLE_EVERY = 60000;
/** @type {Picture[]} Names of lines, and of the theme's colours for them. */
const PICTURES = [
  { title: "people", series: [["sessions", "--gateway-1"], ["users", "--gateway-2"],
    ["workers", "--gateway-3"]] },
  { title: "traffic", series: [["messages_out", "--gateway-1"], ["messages_in", "--gateway-2"]] },
  { title: "delivery", series: [["delivery_p50", "--gateway-2"], ["delivery_p99", "--gateway-1"]] },
  { title: "comings", series: [["connects", "--gateway-2"], ["closes", "--gateway-1"],
    ["refusals", "--gateway-4"]] },
];

/** @type {{picture: Picture, box: HTMLElement, chart: any}[]} */
const charts = [];

/** A colour of the theme as it is now. @param {string} name */
function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim() || "#888";
}

/** The zone of the page's tables; UTC where this browser knows no such zone. */
const zone = known(labels.zone) ? labels.zone : "UTC";

/** @param {string} name */
function known(name) {
  try {
    return Boolean(new Intl.DateTimeFormat("en", { timeZone: name }));
  } catch {
    return false;
  }
}

const times = new Intl.DateTimeFormat("en", {
  timeZone: zone, hourCycle: "h23", hour: "2-digit", minute: "2-digit", second: "2-digit",
});

/** A time of that zone. @param {number} at @param {boolean} seconds */
function clock(at, seconds) {
  return times.format(at * 1000).slice(0, seconds ? 8 : 5);
}

/** @param {Picture} picture */
function data(picture) {
  return [samples.at, ...picture.series.map(([name]) => samples[name] ?? [])];
}

/** @param {Picture} picture @param {number} width */
function options(picture, width) {
  const axis = {
    stroke: () => colour("--body-quiet-color"),
    grid: { stroke: () => colour("--hairline-color"), width: 1 },
    ticks: { stroke: () => colour("--hairline-color"), width: 1, size: 4 },
    font: "11px system-ui, sans-serif",
  };
  return {
    width,
    height: HEIGHT,
    cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false } },
    legend: { live: true },
    scales: { x: { time: true }, y: { range: (_, __, max) => [0, Math.max(1, max * 1.1)] } },
    axes: [
      { ...axis, space: 60, size: 28, values: (_, at) => at.map((one) => clock(one, false)) },
      { ...axis, size: 46, space: 30 },
    ],
    series: [
      { label: `${labels.time} (${zone})`, value: (_, at) => (at == null ? "–" : clock(at, true)) },
      ...picture.series.map(([name, tone]) => ({
        label: labels[name],
        stroke: () => colour(tone),
        width: 1.5,
        points: { show: false },
        spanGaps: false,
        value: (_, value) => (value == null ? "–" : value.toLocaleString()),
      })),
    ],
  };
}

function draw() {
  for (const picture of PICTURES) {
    const box = document.createElement("figure");
    box.className = "gateway-chart";
    const title = document.createElement("figcaption");
    title.textContent = labels[picture.title];
    box.append(title);
    place?.append(box);
    const uPlot = /** @type {any} */ (window).uPlot;
    const chart = new uPlot(options(picture, box.clientWidth || 300), data(picture), box);
    charts.push({ picture, box, chart });
    new ResizeObserver(() => {
      if (box.clientWidth && box.clientWidth !== chart.width) {
        chart.setSize({ width: box.clientWidth, height: HEIGHT });
      }
    }).observe(box);
  }
}

/** @param {Samples} fresh @param {boolean} whole */
function take(fresh, whole) {
  if (whole) samples = fresh;
  else merge(fresh);
  for (const { picture, chart } of charts) chart.setData(data(picture));
}

/** Put new samples behind those that are there; what is older than an hour goes. */
function merge(/** @type {Samples} */ fresh) {
  const last = samples.at.at(-1) ?? 0;
  const first = fresh.at.findIndex((at) => Number(at) > Number(last));
  if (first < 0) return;
  const begin = Number(fresh.at.at(-1)) - HOUR;
  const keep = Math.max(0, samples.at.findIndex((at) => Number(at) >= begin));
  for (const name of Object.keys(samples)) {
    samples[name] = [...samples[name].slice(keep), ...(fresh[name] ?? []).slice(first)];
  }
}

let wholeAt = performance.now();

/** Ask for what is new, and now and then for all of it. */
document.addEventListener("gateway:ask", (event) => {
  if (performance.now() - wholeAt > WHOLE_EVERY) {
    wholeAt = performance.now();
    return;
  }
  const [last, before] = [samples.at.at(-1), samples.at.at(-2)];
  // From the one before the last: there is one to be shown always.
  if (last && before) {
    /** @type {CustomEvent<URL>} */ (event).detail.searchParams.set("after", String(before));
  }
});

document.addEventListener("gateway:answer", (event) => {
  const part = /** @type {CustomEvent} */ (event).detail.parts.charts;
  if (part) take(part.samples, part.whole);
});

const redraw = () => charts.forEach(({ chart }) => chart.redraw(false, true));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
new MutationObserver(redraw).observe(document.documentElement, { attributeFilter: ["data-theme"] });

if (place) draw();

export {};
