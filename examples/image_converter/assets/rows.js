/** The list of jobs on the page: which there are, and how each one looks. */

const STEPS = ["uploading", "reading", "converting", "writing"];
const PATIENCE = 6; // seconds in the queue after which the row says that no worker is there
const LABELS = Object.fromEntries(
  [...document.querySelectorAll("input[name=format]")].map((input) => [input.value, input.dataset.label]),
);
const UNITS = ["bytes", "KB", "MB", "GB"];

export function bytes(size) {
  const power = size < 1000 ? 0 : Math.min(3, Math.floor(Math.log10(size) / 3));
  const value = size / 1000 ** power;
  return `${power && value < 9.95 ? value.toFixed(1) : Math.round(value)} ${UNITS[power]}`;
}

export class Rows {
  #jobs = new Map(); // id -> {job, seen, row}
  #parts;

  /** @param {{list: Element, row: HTMLTemplateElement, empty: HTMLElement, summary: Element, said: Element}} parts */
  constructor(parts) {
    this.#parts = parts;
  }

  /** The list as the server gave it; what was learned since the request began stays. */
  replace(jobs, since) {
    for (const job of jobs) this.put(job, false);
    const listed = new Set(jobs.map((job) => job.id));
    for (const [id, entry] of this.#jobs)
      if (!listed.has(id) && !entry.job.local && entry.seen < since) this.#remove(id);
    this.#count();
  }

  /** A view of a job, from wherever: the newest one wins. */
  put(job, aloud = true) {
    const known = this.#jobs.get(job.id)?.job;
    if (known && job.rev < known.rev) return;
    if (!known && job.ref) this.#remove(`local-${job.ref}`);
    this.#show(job);
    if (!aloud || known?.state === job.state) return;
    if (job.state === "done") this.#parts.said.textContent = `${job.name}: ${LABELS[job.format]} is ready`;
    if (job.state === "failed") this.#parts.said.textContent = `${job.name}: ${job.error}`;
  }

  /** This tab's own upload, until the server has it under its own id. */
  local(job) {
    for (const entry of this.#jobs.values()) if (!entry.job.local && entry.job.ref === job.ref) return;
    this.#show(job);
  }

  /** The clock went on. `now`: epoch seconds. */
  tick(now) {
    for (const [id, { job, row }] of this.#jobs) {
      if (job.expires <= now) this.#remove(id);
      else if (job.state === "queued") describe(job, row, now);
    }
    this.#count();
  }

  #show(job) {
    let entry = this.#jobs.get(job.id);
    if (!entry) {
      const row = this.#parts.row.content.firstElementChild.cloneNode(true);
      entry = { job, row, seen: 0 };
      row.querySelector(".dismiss").onclick = () => (this.#remove(job.id), this.#count());
      const older = [...this.#jobs.values()].filter((other) => other.job.created < job.created);
      older.sort((a, b) => b.job.created - a.job.created);
      this.#parts.list.insertBefore(row, older[0]?.row ?? null);
      this.#jobs.set(job.id, entry);
    }
    entry.job = job;
    entry.seen = performance.now();
    describe(job, entry.row, Date.now() / 1000);
    this.#count();
  }

  #remove(id) {
    this.#jobs.get(id)?.row.remove();
    this.#jobs.delete(id);
  }

  #count() {
    const states = [...this.#jobs.values()].map(({ job }) => job.state);
    const done = states.filter((state) => state === "done").length;
    const busy = states.filter((state) => !["done", "failed"].includes(state)).length;
    const said = [busy && `${busy} in progress`, done && `${done} ready`].filter(Boolean).join(" · ");
    if (this.#parts.summary.textContent !== said) this.#parts.summary.textContent = said;
    this.#parts.empty.hidden = states.length > 0;
  }
}

/** Write a job into its row. */
function describe(job, row, now) {
  const part = (name) => row.querySelector(`.${name}`);
  row.dataset.state = job.state;
  row.dataset.job = job.id;
  row.classList.toggle("local", Boolean(job.local));
  part("badge").textContent = LABELS[job.format];
  part("name").textContent = part("name").title = job.name;
  part("note").textContent = job.note ?? "";
  const detail = part("detail");
  if (job.state === "done") detail.replaceChildren(...outcome(job));
  else if (detail.textContent !== progress(job, now)) detail.textContent = progress(job, now);

  const link = part("download");
  if (job.state === "done") link.href = `jobs/${job.id}/result`;
  link.setAttribute("aria-label", `Download ${job.name} as ${LABELS[job.format]}`);

  // 0.5: the upload is over, nothing else has begun.
  const step = job.state === "uploading" ? 0 : job.step ? STEPS.indexOf(job.step) : 0.5;
  const bar = part("steps");
  [...bar.children].forEach((span, index) => {
    const current = index === step;
    span.className = index < step ? "past" : current && job.percent === null ? "moving" : "";
    span.firstElementChild.style.width = current && job.percent !== null ? `${job.percent}%` : "";
  });
  const overall = ((Math.ceil(step) + (job.percent ?? 0) / 100) / STEPS.length) * 100;
  bar.setAttribute("aria-valuenow", String(Math.round(overall)));
  bar.setAttribute("aria-valuetext", detail.textContent);
  bar.setAttribute("aria-label", `Progress of ${job.name}`);
}

function progress(job, now) {
  if (job.state === "failed") return job.error;
  if (job.state === "uploading") return job.percent < 100 ? `Uploading ${job.percent} %` : "Storing…";
  if (job.state === "queued")
    return now - job.created > PATIENCE ? "Waiting: no worker has taken it yet" : "Waiting for a worker";
  if (job.step === "reading") return `Reading ${bytes(job.source_bytes)} · ${job.percent} %`;
  if (job.step === "converting") return `Converting to ${LABELS[job.format]}`;
  if (job.step === "writing") return job.written ? `Writing · ${bytes(job.written)} so far` : "Writing";
  return "Starting";
}

/** "JPEG 4.2 MB → WebP 1.1 MB · 74 % smaller · 4,000 × 3,000" */
function outcome(job) {
  const change = Math.round((job.result_bytes / job.source_bytes - 1) * 100);
  const saved = document.createElement("span");
  saved.className = change < 0 ? "saved" : "";
  saved.textContent = change < 0 ? `${-change} % smaller` : change > 0 ? `${change} % larger` : "same size";
  const sizes = `${job.source_format} ${bytes(job.source_bytes)} → ${LABELS[job.format]} ${bytes(job.result_bytes)} · `;
  return [sizes, saved, ` · ${job.width.toLocaleString("en")} × ${job.height.toLocaleString("en")}`];
}
