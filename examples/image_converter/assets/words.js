/** What a job looks like in words. Knows no element of the page but the names of the formats. */

const SILENCE = 8; // seconds without news of a running job after which the row says so; they come every 5
const UNITS = ["bytes", "KB", "MB", "GB"];
export const LABELS = Object.fromEntries(
  [...document.querySelectorAll("input[name=format]")].map((input) => [input.value, input.dataset.label]),
);

export function bytes(size) {
  const power = size < 1000 ? 0 : Math.min(3, Math.floor(Math.log10(size) / 3));
  const value = size / 1000 ** power;
  return `${power && value < 9.95 ? value.toFixed(1) : Math.round(value)} ${UNITS[power]}`;
}

/** One line. `progress`: the newest of its task, or undefined; `silent`: seconds since then. */
export function detail(job, { progress, silent = 0, workers }) {
  switch (job.state) {
    case "failed":
      return job.error;
    case "cancelled":
      return "Cancelled";
    case "waiting":
      return "Waiting to be uploaded";
    case "uploading":
      return job.percent < 100 ? `Uploading · ${job.percent}%` : "Storing…";
    case "queued":
      return queued(job, workers);
    case "done":
      return `${job.source_format} ${bytes(job.source_bytes)} → ${LABELS[job.format]} ${bytes(job.result_bytes)}`;
    default:
      return step(job, progress) + (silent > SILENCE ? ` · no news for ${Math.floor(silent)} s` : "");
  }
}

function queued(job, workers) {
  const what = { lost: "Its worker was lost", released: "Its worker handed it back" }[job.setback];
  if (what) return `${what}: waiting for another`;
  return workers === 0 ? "Waiting: no worker is connected" : "Waiting for its turn";
}

function step(job, progress) {
  if (progress?.step === "decode") return `Decoding ${bytes(job.source_bytes)} · ${progress.percent}%`;
  if (progress?.step === "resize") return job.side ? `Resizing to ${number(job.side)} pixels` : "Preparing the pixels";
  if (progress?.step === "encode")
    return `Encoding ${LABELS[job.format]}${progress.written ? ` · ${bytes(progress.written)} written` : ""}`;
  return "Starting";
}

/** "74% smaller" and whether that is good news. */
export function saving(job) {
  // Towards zero: nothing is ever 100% smaller.
  const change = Math.trunc((job.result_bytes / job.source_bytes - 1) * 100);
  return { good: change < 0, text: change < 0 ? `${-change}% smaller` : change > 0 ? `${change}% larger` : "same size" };
}

/** The small print of a row. */
export function note(job, progress) {
  const by = job.worker || progress?.worker;
  return [job.state === "done" && sizes(job), by && `by ${by}`, job.note].filter(Boolean).join(" · ");
}

function sizes({ source_width, source_height, width, height }) {
  const [before, after] = [[source_width, source_height], [width, height]].map((side) => side.map(number).join(" × "));
  return before === after ? after : `${before} → ${after}`;
}

/** What a screen reader hears of a change; "" if it is not worth a word. */
export function news(job) {
  if (job.state === "done") return `${job.name}: ${LABELS[job.format]} is ready, ${saving(job).text}`;
  if (job.state === "failed") return `${job.name}: ${job.error}`;
  if (job.state === "cancelled") return `${job.name}: cancelled`;
  if (job.state === "queued" && job.setback) return `${job.name}: ${queued(job)}`;
  return "";
}

const number = (value) => value.toLocaleString("en");
