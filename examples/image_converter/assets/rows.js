/** The list of jobs on the page: which there are, how each one looks, where the keyboard is. */

import { bytes, texts } from "./texts.js";
import { LABELS, detail, joined, news, note, saving } from "./words.js";

const BUSY = ["waiting", "uploading", "queued", "working"];
const STEPS = ["decode", "resize", "encode"]; // after the upload
const SAID = 10_000; // ms that an announcement stays

export class Rows {
  #entries = new Map(); // id -> {job, row, seen, progress, heard}
  #gone = new Set(); // ids of removed jobs: a late view does not bring them back
  #workers; // how many are connected; undefined until we know
  #connected = true;
  #parts;
  #act;

  /**
   * @param {{list, row, empty, summary, said, all, clear, fallback}} parts
   * @param {(action: "cancel" | "again" | "remove", job) => void} act  what a button asks for
   */
  constructor(parts, act) {
    this.#parts = parts;
    this.#act = act;
  }

  get jobs() {
    return [...this.#entries.values()].map(({ job }) => job);
  }

  set workers(count) {
    this.#workers = count;
    for (const entry of this.#entries.values()) this.#describe(entry);
  }

  /** Whether news can come. Without it nothing moves, and silence counts from the return on. */
  set connected(connected) {
    if (connected === this.#connected) return;
    this.#connected = connected;
    this.#parts.list.classList.toggle("still", !connected);
    for (const entry of this.#entries.values()) {
      entry.heard = performance.now();
      this.#describe(entry);
    }
  }

  /** The list as the server gave it; what was learned since the request began stays. */
  replace(jobs, since) {
    for (const job of jobs) this.put(job, false);
    const listed = new Set(jobs.map((job) => job.id));
    for (const [id, entry] of this.#entries)
      if (!listed.has(id) && !entry.job.local && entry.seen < since) this.remove(id);
    this.#count();
  }

  /** A view of a job, from wherever: the newest one wins. */
  put(job, aloud = true) {
    if (this.#gone.has(job.id)) return;
    if (job.state === "removed") {
      this.#gone.add(job.id);
      this.remove(job.id);
      return;
    }
    const known = this.#entries.get(job.id)?.job;
    if (known && job.rev <= known.rev) return;
    if (!known && job.ref) this.#adopt(job);
    this.#show(job);
    if (aloud && known?.state !== job.state) this.say(news(job));
  }

  /** This tab's own upload, until the server has it under its own id. */
  local(job) {
    for (const entry of this.#entries.values()) if (!entry.job.local && entry.job.ref === job.ref) return;
    const known = this.#entries.get(job.id)?.job;
    this.#show(job);
    if (job.state === "failed" && known?.state !== "failed") this.say(news(job));
  }

  /** How far a task is, as its worker says. It may be here before the job's view that names the task. */
  progress(task, progress) {
    const entry = this.#entries.get(progress.job);
    if (!entry) return;
    entry.progress = { ...progress, task };
    entry.heard = performance.now();
    this.#describe(entry);
  }

  /** The clock went on. `now`: epoch seconds of the server. */
  tick(now) {
    for (const [id, entry] of this.#entries) {
      if (entry.job.expires <= now) this.remove(id);
      else if (entry.job.state === "working") this.#describe(entry);
    }
  }

  /** Take a row off the page; the keyboard goes on with its neighbour. */
  remove(id) {
    const row = this.#entries.get(id)?.row;
    this.#entries.delete(id);
    if (!row) return;
    const next = row.nextElementSibling ?? row.previousElementSibling;
    const had = row.contains(document.activeElement);
    row.remove();
    this.#count();
    if (had) (next ? target(next) : this.#parts.fallback).focus();
  }

  /** Tell people who do not see the page. */
  say(text) {
    if (!text) return;
    const line = document.createElement("p");
    line.textContent = text;
    this.#parts.said.append(line);
    setTimeout(() => line.remove(), SAID);
  }

  /** The server's job continues the row of our upload: nothing jumps, and the focus stays. */
  #adopt(job) {
    const local = `local-${job.ref}`;
    const entry = this.#entries.get(local);
    if (!entry) return;
    this.#entries.delete(local);
    this.#entries.set(job.id, entry);
  }

  #show(job) {
    let entry = this.#entries.get(job.id);
    if (!entry) {
      // Where it begins it stays: the server's time of an upload differs from ours.
      entry = { job, row: this.#made(job), heard: performance.now(), order: job.created };
      this.#entries.set(job.id, entry);
    }
    if (job.state === "working" && entry.job.task !== job.task) entry.heard = performance.now();
    entry.job = job;
    entry.seen = performance.now();
    this.#describe(entry);
    this.#count();
  }

  #made(job) {
    const row = this.#parts.row.content.firstElementChild.cloneNode(true);
    for (const action of ["cancel", "again", "remove"])
      row.querySelector(`.${action}`).onclick = () => this.#act(action, this.#of(row));
    const orders = new Map([...this.#entries.values()].map((entry) => [entry.row, entry.order]));
    const older = [...this.#parts.list.children].find((other) => orders.get(other) <= job.created);
    this.#parts.list.insertBefore(row, older ?? null);
    return row;
  }

  #of(row) {
    return [...this.#entries.values()].find((entry) => entry.row === row).job;
  }

  #describe({ job, row, progress, heard }) {
    const current = job.state === "working" && progress?.task === job.task ? progress : undefined;
    const silent = (performance.now() - heard) / 1000;
    describe(job, row, current, detail(job, { progress: current, silent, connected: this.#connected, workers: this.#workers }));
  }

  #count() {
    const { jobs } = this;
    const done = jobs.filter((job) => job.state === "done");
    const busy = jobs.filter((job) => BUSY.includes(job.state)).length;
    const saved = done.reduce((sum, job) => sum + job.source_bytes - job.result_bytes, 0);
    const said = joined(
      busy && texts.inProgress(busy),
      done.length && texts.ready(done.length),
      saved > 0 && texts.saved(bytes(saved)),
    );
    setText(this.#parts.summary, said);
    this.#parts.empty.hidden = jobs.length > 0;
    hide(this.#parts.all, done.length < 2, this.#parts.fallback);
    hide(this.#parts.clear, jobs.length === busy, this.#parts.fallback);
  }
}

/** Write a job into its row. */
function describe(job, row, progress, line) {
  const part = (name) => row.querySelector(`.${name}`);
  const busy = BUSY.includes(job.state);
  row.dataset.state = job.state;
  row.dataset.job = job.id;
  row.dataset.setback = job.setback ?? "";
  setText(part("badge"), LABELS[job.format]);
  setText(part("name"), job.name);
  part("name").title = job.name;
  row.setAttribute("aria-label", job.name);
  describeDetail(part("detail"), job, line);
  setText(part("note"), note(job, progress));
  showPicture(part("picture").lastElementChild, job, progress);
  showSteps(part("steps"), job, progress, line);
  part("steps").hidden = !busy;

  const link = part("download");
  if (job.state === "done") link.href = `jobs/${job.id}/result`;
  link.setAttribute("aria-label", texts.download(job.name, LABELS[job.format]));
  part("again").setAttribute("aria-label", texts.again(job.name));
  part("cancel").setAttribute("aria-label", texts.cancel(job.name));
  part("remove").setAttribute("aria-label", texts.remove(job.name));
  const shown = { download: job.state === "done", again: job.retryable, cancel: busy, remove: !busy };
  const focused = row.contains(document.activeElement) ? document.activeElement : null;
  for (const [name, show] of Object.entries(shown)) part(name).hidden = !show;
  if (focused?.hidden) target(row).focus();
}

function describeDetail(element, job, line) {
  if (job.state !== "done") return setText(element, line);
  const { good, text } = saving(job);
  const chip = document.createElement("span");
  chip.className = good ? "saved" : "grown";
  chip.textContent = text;
  element.replaceChildren(`${line} · `, chip);
}

/** The thumbnail, from the moment that the worker has made one. */
function showPicture(image, job, progress) {
  if (job.state !== "done" && !progress?.thumbnail) {
    if (["failed", "cancelled", "queued"].includes(job.state)) {
      image.hidden = true;
      image.removeAttribute("src");
    }
    return;
  }
  const url = `jobs/${job.id}/thumbnail?${job.task}`;
  if (image.getAttribute("src") === url) return;
  image.onload = () => { image.hidden = false; };
  image.onerror = () => { image.hidden = true; };
  image.src = url;
}

/** Upload, decode, resize, encode: what is measured fills, what cannot be measured moves. */
function showSteps(bar, job, progress, line) {
  const uploading = job.state === "uploading" || job.state === "waiting";
  const step = uploading ? 0 : progress ? 1 + STEPS.indexOf(progress.step) : 0.5; // 0.5: nothing else has begun
  const percent = uploading ? job.percent : (progress?.percent ?? null);
  [...bar.children].forEach((span, index) => {
    const current = index === step;
    span.className = index < step ? "past" : current && percent === null ? "moving" : "";
    span.firstElementChild.style.width = current && percent !== null ? `${percent}%` : "";
  });
  const overall = ((Math.ceil(step) + (percent ?? 0) / 100) / bar.children.length) * 100;
  bar.setAttribute("aria-valuenow", String(Math.round(overall)));
  bar.setAttribute("aria-valuetext", line);
  bar.setAttribute("aria-label", texts.progress(job.name));
}

/** Where the keyboard goes in a row. */
function target(row) {
  return [...row.querySelectorAll(".actions > *")].find((action) => !action.hidden) ?? row;
}

function hide(element, hidden, fallback) {
  const had = element === document.activeElement;
  element.hidden = hidden;
  if (had && hidden) fallback.focus();
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
