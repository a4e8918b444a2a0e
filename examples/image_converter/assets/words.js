/** What a job looks like in words. Knows no element of the page but the names of the formats. */

import { bytes, number, percent, texts } from "./texts.js";

const SILENCE = 8; // seconds without news of a running job after which the row says so; they come every 5
export const LABELS = Object.fromEntries(
  [...document.querySelectorAll("input[name=format]")].map((input) => [input.value, input.dataset.label]),
);

/**
 * One line. `progress`: the newest of its task, or undefined; `silent`: seconds since then; `connected`: whether
 * news could come.
 */
export function detail(job, { progress, silent = 0, connected = true, workers }) {
  switch (job.state) {
    case "failed":
      return job.error;
    case "cancelled":
      return texts.cancelled;
    case "waiting":
      return texts.waitingToUpload;
    case "uploading":
      return job.percent < 100 ? texts.uploading(percent(job.percent)) : texts.storing;
    case "queued":
      return queued(job, workers);
    case "done":
      return `${job.source_format} ${bytes(job.source_bytes)} → ${LABELS[job.format]} ${bytes(job.result_bytes)}`;
    default:
      return joined(step(job, progress), quiet(silent, connected));
  }
}

/** Why nothing is heard of a running job, if nothing is. */
function quiet(silent, connected) {
  if (!connected) return texts.noConnection;
  return silent > SILENCE && texts.noUpdate(Math.floor(silent));
}

function queued(job, workers) {
  return texts.setback[job.setback] ?? (workers === 0 ? texts.noConverter : texts.queued);
}

function step(job, progress) {
  if (progress?.step === "decode") return texts.reading(bytes(job.source_bytes), percent(progress.percent));
  if (progress?.step === "resize") return job.side ? texts.resizing(job.side) : texts.preparing;
  if (progress?.step === "encode")
    return joined(texts.saving(LABELS[job.format]), progress.written && texts.soFar(bytes(progress.written)));
  return texts.starting;
}

/** "74% smaller" and whether that is good news. */
export function saving(job) {
  // Towards zero: nothing is ever 100% smaller.
  const change = Math.trunc((job.result_bytes / job.source_bytes - 1) * 100);
  if (change < 0) return { good: true, text: texts.smaller(percent(-change)) };
  return { good: false, text: change > 0 ? texts.larger(percent(change)) : texts.sameSize };
}

/** The small print of a row. */
export function note(job, progress) {
  const by = job.worker || progress?.worker;
  return joined(job.state === "done" && sizes(job), by && texts.by(by), job.note);
}

function sizes({ source_width, source_height, width, height }) {
  const [before, after] = [[source_width, source_height], [width, height]].map((side) => side.map(number).join(" × "));
  return before === after ? after : `${before} → ${after}`;
}

/** What a screen reader hears of a change; "" if it is not worth a word. */
export function news(job) {
  if (job.state === "done") return texts.saidDone(job.name, LABELS[job.format], saving(job).text);
  if (job.state === "failed") return `${job.name}: ${job.error}`;
  if (job.state === "cancelled") return texts.saidCancelled(job.name);
  if (job.state === "queued" && job.setback) return `${job.name}: ${queued(job)}`;
  return "";
}

/** What there is of these, in one line. */
export const joined = (...parts) => parts.filter(Boolean).join(" · ");
