/** Files on their way to the API server, three at a time. */

import { texts } from "./texts.js";

const AT_ONCE = 3;

export class Uploads {
  #waiting = []; // refs, in the order of their coming
  #known = new Map(); // ref -> {file, job, request}
  #running = 0;
  #rows;
  #maxBytes;

  /** @param {import("./rows.js").Rows} rows @param {number} maxBytes */
  constructor(rows, maxBytes) {
    this.#rows = rows;
    this.#maxBytes = maxBytes;
  }

  get active() {
    return this.#running + this.#waiting.length > 0;
  }

  /** @param {File} file @param {{format: string, side: string, quality: string}} wish */
  add(file, name, wish) {
    const ref = crypto.getRandomValues(new Uint32Array(3)).join("-");
    const job = {
      id: `local-${ref}`, ref, name, ...wish, source_bytes: file.size, created: Date.now() / 1000,
      expires: Infinity, rev: 0, state: "waiting", percent: 0, local: true, retryable: false,
    };
    this.#known.set(ref, { file, job });
    if (file.size > this.#maxBytes) return this.#fail(ref, tooLarge(this.#maxBytes));
    this.#enqueue(ref);
  }

  again({ ref }) {
    this.#enqueue(ref);
  }

  /** Those that broke off with the connection. */
  resume() {
    for (const [ref, { broken }] of this.#known) if (broken) this.#enqueue(ref);
  }

  cancel({ ref }) {
    const { request } = this.#known.get(ref) ?? {};
    this.#waiting = this.#waiting.filter((other) => other !== ref);
    this.#known.delete(ref);
    request?.abort();
  }

  #enqueue(ref) {
    const known = this.#known.get(ref);
    known.broken = false;
    this.#change(ref, { state: "waiting" });
    this.#waiting.push(ref);
    this.#next();
  }

  #next() {
    while (this.#running < AT_ONCE && this.#waiting.length) this.#send(this.#waiting.shift());
  }

  /** `fetch` tells nothing while it uploads; XMLHttpRequest does. */
  #send(ref) {
    const known = this.#known.get(ref);
    const { file, job } = known;
    const query = new URLSearchParams({ format: job.format, side: job.side, quality: job.quality, name: job.name, ref });
    const request = (known.request = new XMLHttpRequest());
    this.#running += 1;
    this.#change(ref, { state: "uploading", percent: 0 });
    request.open("POST", `jobs?${query}`);
    request.upload.onprogress = ({ loaded, total }) =>
      this.#change(ref, { state: "uploading", percent: Math.floor((loaded * 100) / total) });
    request.onload = () => this.#answered(ref, request);
    request.onerror = async () => {
      if (!(await readable(file))) return this.#fail(ref, texts.unreadable);
      known.broken = true;
      this.#fail(ref, texts.interrupted, true);
    };
    request.onloadend = () => {
      this.#running -= 1;
      this.#next();
    };
    request.send(file);
  }

  #answered(ref, request) {
    if (request.status === 202) {
      this.#known.delete(ref);
      this.#rows.put(JSON.parse(request.responseText));
    } else {
      // Too many, or full: that passes. What is wrong with the file itself does not.
      const passes = request.status === 429 || request.status >= 500;
      this.#fail(ref, explained(request.responseText, request.status, this.#maxBytes), passes);
    }
  }

  #fail(ref, error, retryable = false) {
    this.#change(ref, { state: "failed", error, retryable });
  }

  #change(ref, changes) {
    const known = this.#known.get(ref);
    if (known) this.#rows.local({ ...known.job, ...changes });
  }
}

/** @param {File} file */
const readable = (file) => file.slice(0, 1).arrayBuffer().then(() => true, () => false);

/** An error of the API server, in its own words if it has some. */
export function explained(text, status, maxBytes) {
  try {
    return JSON.parse(text).error.message;
  } catch {
    return status === 413 ? tooLarge(maxBytes) : texts.serverError(status);
  }
}

const tooLarge = (maxBytes) => texts.tooLarge(Math.floor(maxBytes / 2 ** 20));
