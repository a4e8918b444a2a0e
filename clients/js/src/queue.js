/**
 * What a page sends while it is offline, kept until it is back:
 *
 *     import { Queue } from "django-gateway-client/queue";
 *     const queue = new Queue(gateway);
 *     await queue.send("order.placed", { order: 7 });
 *
 * A message may be sent more than once: the answer to it was lost, and nobody knows whether it was
 * heard. So each has a ULID, the same each time, as a member of its data: whoever handles it passes
 * over the ULIDs that they have seen.
 */
import { GatewayError, ulid } from "./gateway.js";

const AGAIN = new Set(["offline", "disconnected", "timeout", "unavailable", "rate_limited"]);
const PAUSE = 2_000; // ms after a refusal that is none for good

/** @import { Gateway } from "./gateway.js" */
/**
 * @typedef {object} QueueOptions
 * @property {number} [limit]  messages that wait, at most: 100
 * @property {number} [maxAge]  ms that one waits, at most: 300,000
 * @property {string} [key]  the member of the data that has the ULID: `idempotency_key`
 */
/**
 * @typedef {object} Entry
 * @property {string} event
 * @property {Record<string, unknown>} data
 * @property {(reply: any) => void} resolve
 * @property {(error: unknown) => void} reject
 * @property {ReturnType<typeof setTimeout>} timer  its end
 */

/** Sends in order, one after the other. Belongs to one gateway. */
export class Queue {
  #gateway; #limit; #maxAge; #key; #stop;
  /** @type {Map<string, Entry>} By key; in the order in which they are sent. */ #entries = new Map();
  /** @type {Map<string, Promise<any>>} */ #promises = new Map();
  #isBusy = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #pause;

  /** @param {Gateway<any, any>} gateway @param {QueueOptions} [options] */
  constructor(gateway, { limit = 100, maxAge = 300_000, key = "idempotency_key" } = {}) {
    this.#gateway = gateway;
    this.#limit = limit;
    this.#maxAge = maxAge;
    this.#key = key;
    this.#stop = gateway.on("status", () => this.#next());
  }

  /** How many wait. */
  get size() {
    return this.#entries.size;
  }

  /**
   * Send now, or when there is a connection again; resolves when the gateway has heard it. A key that
   * is in the data already counts: what waits with the same one is the same message. Rejects with
   * GatewayError: `queue_full` (nothing was sent), `expired` or `closed` (unknown), or the code of a
   * refusal for good.
   * @param {string} event @param {Record<string, unknown>} [data]  an object @returns {Promise<any>}
   */
  send(event, data = {}) {
    if (typeof data !== "object" || data === null || Array.isArray(data))
      return Promise.reject(new GatewayError("bad_message", `data is an object: it has the member ${this.#key}`));
    const id = data[this.#key] ?? ulid();
    const key = String(id);
    const waiting = this.#promises.get(key);
    if (waiting) return waiting;
    if (this.#entries.size >= this.#limit)
      return Promise.reject(new GatewayError("queue_full", `${this.#limit} messages wait: send fewer, or later`));
    /** @type {Promise<any>} */
    const promise = new Promise((resolve, reject) => {
      const late = new GatewayError("expired", "it has waited too long");
      const timer = setTimeout(() => this.#settle(key)?.reject(late), this.#maxAge);
      this.#entries.set(key, { event, data: { ...data, [this.#key]: id }, resolve, reject, timer });
    });
    this.#promises.set(key, promise);
    this.#next();
    return promise;
  }

  /** Give up what waits, with `closed`, and leave the gateway alone. */
  close() {
    this.#stop();
    clearTimeout(this.#pause);
    const closed = new GatewayError("closed", "the queue was closed");
    for (const key of [...this.#entries.keys()]) this.#settle(key)?.reject(closed);
  }

  async #next() {
    if (this.#isBusy || this.#gateway.status.state !== "online") return;
    const [key, entry] = [...this.#entries][0] ?? [];
    if (key === undefined || !entry) return;
    this.#isBusy = true;
    clearTimeout(this.#pause);
    try {
      const reply = await this.#gateway.send(entry.event, entry.data);
      this.#settle(key)?.resolve(reply);
    } catch (error) {
      if (error instanceof GatewayError && AGAIN.has(error.code)) {
        if (this.#entries.size) this.#pause = setTimeout(() => this.#next(), PAUSE);
        return;
      }
      this.#settle(key)?.reject(error);
    } finally {
      this.#isBusy = false;
    }
    this.#next();
  }

  /** It waits no longer. @param {string} key */
  #settle(key) {
    const entry = this.#entries.get(key);
    clearTimeout(entry?.timer);
    this.#entries.delete(key);
    this.#promises.delete(key);
    return entry;
  }
}
