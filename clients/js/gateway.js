// @ts-check
/**
 * The browser's side of `gateway.v1`: one socket that stays, or says when it is back.
 *
 *     import { Gateway } from "/gateway.js";
 *     const gateway = new Gateway("wss://example.com/", { getToken: () => fetchToken() });
 *     gateway.on("message", ({ event, data }) => …);
 *     gateway.on("reset", () => reloadEverything());
 *     gateway.on("status", ({ state, retryAt }) => …);
 *
 * Durable messages arrive once and in order, across reconnects too. What cannot be delivered is
 * announced by `reset`: load your state anew. To miss nothing between loading a page's data and
 * the first message, take the user's position on the server BEFORE the data and pass it here.
 */

/** @typedef {{epoch: string, offset: number}} Position */
/**
 * @typedef {object} Options
 * @property {() => string | Promise<string>} [getToken]  a fresh token; asked before every connection
 * @property {Position} [position]  where the page's data stands; without it you begin at "now"
 * @property {string} [clientId]  a ULID; by default one that is stable for this browser tab
 * @property {Storage} [storage]  where that ULID outlives a reload (default: sessionStorage)
 * @property {Record<string, string>} [query]  more parameters of the handshake
 */
/** @typedef {{id: string, event: string, data: any, time: number, offset?: number, missed?: number}} Message */
/**
 * @typedef {object} Status
 * @property {"connecting" | "online" | "offline" | "closed"} state  `closed` is final until `connect()`
 * @property {number} [retryAt]  offline: when the next attempt begins, as Date.now() counts
 * @property {number} [code]  offline and closed: why (a close code; 1006 when nobody said)
 * @property {string} [reason]
 */

const HANDSHAKE = 15_000; // ms from the first packet to the welcome
const SILENCE = 10_000; // ms that a ping may be late
const ANSWER = 10_000; // ms for a reply
const PROBE = 4_000; // ms for the reply that tells whether the line is alive
const STABLE = 5_000; // ms online after which a loss counts as the first one again
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 30_000;
const ACK_EVERY = 1_000;
const SENDABLE = /^[\w!#$%&'*+\-.^`|~]+$/; // a subprotocol, as RFC 9110 section 5.6.2 has tokens

/** Whether a socket closed with `code` should come back; PROTOCOL section 3. @param {number} code */
export function shouldReconnect(code) {
  return [1001, 1006, 1011, 1012, 1013].includes(code) || (code >= 4000 && code < 4500);
}

/** A request that was refused or lost. `code` is for programs. */
export class GatewayError extends Error {
  /** @param {string} code @param {string} message */
  constructor(code, message) {
    super(message);
    this.name = "GatewayError";
    this.code = code;
  }
}

export class Gateway {
  /** @type {Status} */ status = { state: "closed" };
  /** @type {Position | undefined} The last position that this page has processed. */ position;
  /** @type {string} */ clientId;

  #url; #getToken; #query;
  /** @type {WebSocket | undefined} */ #socket;
  /** @type {Map<string, Set<Function>>} */ #handlers = new Map();
  /** @type {Map<string, {resolve: Function, reject: Function, timer: any}>} */ #requests = new Map();
  #refs = 0;
  #attempt = 0; // counts connections, so that what belongs to an old one is recognised
  #failures = 0;
  #onlineSince = 0;
  #patience = HANDSHAKE; // ms without a frame until the server counts as gone
  /** @type {number | undefined} */ #returnAt; // ms since the epoch, as `closing` announced
  /** @type {Record<string, any>} */ #timers = {};

  /** Connects at once. @param {string | URL} url @param {Options} [options] */
  constructor(url, { getToken, position, clientId, storage, query } = {}) {
    this.#url = url;
    this.#getToken = getToken;
    this.#query = query;
    this.position = position;
    this.clientId = clientId ?? tabId(storage);
    for (const change of ["online", "offline"]) addEventListener(change, () => this.#networkChanged());
    this.connect();
  }

  /**
   * Listen to `message`, `reset`, `status` or `welcome`; returns what stops listening.
   * @param {"message" | "reset" | "status" | "welcome"} name @param {(detail: any) => void} handler
   */
  on(name, handler) {
    const handlers = this.#handlers.get(name) ?? new Set();
    this.#handlers.set(name, handlers.add(handler));
    return () => handlers.delete(handler);
  }

  /**
   * Send to the workers and the Django code that serve this user. Rejects with GatewayError:
   * `offline` (nothing was sent), `disconnected` or `timeout` (unknown), or the server's own code.
   * @param {string} event @param {any} [data] @returns {Promise<any>}
   */
  send(event, data = null) {
    return this.#request({ type: "send", event, data });
  }

  /** This user's live sessions. @returns {Promise<{session: string, client: string, since: number, agent: string}[]>} */
  async sessions() {
    return (await this.#request({ type: "sessions" })).sessions;
  }

  /** Connect now: after `closed`, or instead of waiting for the next attempt. */
  connect() {
    if (this.status.state === "closed" || this.status.state === "offline") this.#open();
  }

  /** Leave, until `connect()`. */
  close() {
    this.#drop(1000);
    this.#setStatus({ state: "closed", code: 1000, reason: "" });
  }

  async #open() {
    clearTimeout(this.#timers.retry);
    const attempt = ++this.#attempt;
    this.#patience = HANDSHAKE;
    this.#setStatus({ state: "connecting" });
    this.#heard(); // a token that never comes is a failure too
    let token;
    try {
      token = await this.#getToken?.();
    } catch (error) {
      if (attempt === this.#attempt) this.#lost(1006, `no token: ${error}`);
      return;
    }
    if (attempt !== this.#attempt) return;
    const protocols = ["gateway.v1", ...(token ? [`gateway.bearer.${token}`] : [])];
    let socket;
    try {
      socket = this.#socket = new WebSocket(this.#address(), protocols);
    } catch {
      // The same again would fail again. The error is not passed on: its text holds the token.
      if (protocols.every((name) => SENDABLE.test(name))) this.#lost(4500, "no address for a WebSocket");
      else this.#lost(4501, "the token has characters that a WebSocket cannot carry");
      return;
    }
    socket.onmessage = ({ data }) => this.#received(JSON.parse(data));
    socket.onclose = ({ code, reason }) => this.#lost(code, reason);
  }

  /** What to connect to. @returns {URL} */
  #address() {
    const url = new URL(this.#url);
    const given = { ...this.#query, client_id: this.clientId, ...this.position };
    for (const [name, value] of Object.entries(given)) url.searchParams.set(name, String(value));
    return url;
  }

  /** @param {any} frame */
  #received(frame) {
    this.#heard();
    switch (frame.type) {
      case "welcome":
        this.#patience = frame.heartbeat ? frame.heartbeat * 1000 + SILENCE : Infinity;
        this.#heard();
        this.#onlineSince = Date.now();
        this.position = { epoch: frame.epoch, offset: frame.offset };
        this.#setStatus({ state: "online" });
        this.#emit("welcome", frame);
        if (frame.recovered === false) this.#emit("reset", this.position);
        break;
      case "message":
        if (frame.offset === undefined) this.#emit("message", frame);
        else if (this.position && frame.offset > this.position.offset) {
          this.#emit("message", frame);
          this.#moved(frame.offset);
        }
        break;
      case "position":
        this.#moved(frame.offset);
        break;
      case "reset":
        this.position = { epoch: frame.epoch, offset: frame.offset };
        this.#emit("reset", this.position);
        break;
      case "ping":
        this.#write({ type: "pong" });
        break;
      case "reply":
        this.#settle(String(frame.ref), frame);
        break;
      case "closing":
        this.#returnAt = Date.now() + frame.reconnect_after * 1000;
        break;
    }
  }

  /** @param {number} offset */
  #moved(offset) {
    if (!this.position) return;
    this.position = { epoch: this.position.epoch, offset };
    this.#timers.ack ??= setTimeout(() => {
      this.#timers.ack = undefined;
      this.#write({ type: "ack", ...this.position });
    }, ACK_EVERY);
  }

  /** The connection is over. @param {number} code @param {string} reason */
  #lost(code, reason) {
    const attempt = this.#attempt;
    this.#drop(code);
    if (!shouldReconnect(code)) {
      this.#setStatus({ state: "closed", code, reason });
      return;
    }
    if (this.#onlineSince && Date.now() - this.#onlineSince > STABLE) this.#failures = 0;
    this.#onlineSince = 0;
    // Full jitter: a thousand tabs that lost the same server do not return together.
    const backOff = Math.random() * Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** this.#failures);
    const expired = code === 4003 && this.#failures === 0;
    const planned = this.#returnAt && Math.max(0, this.#returnAt - Date.now());
    const pause = planned ?? (expired ? 0 : backOff);
    this.#returnAt = undefined;
    this.#failures += 1;
    this.#setStatus({ state: "offline", retryAt: Date.now() + pause, code, reason });
    // A handler of `status` may have connected or closed already.
    if (attempt + 1 === this.#attempt) this.#timers.retry = setTimeout(() => this.#open(), pause);
  }

  /** Forget the socket, whatever state it is in: a dead line would take minutes to close. @param {number} code */
  #drop(code) {
    this.#attempt += 1;
    for (const timer of Object.values(this.#timers)) clearTimeout(timer);
    this.#timers = {};
    const socket = this.#socket;
    this.#socket = undefined;
    if (socket) {
      socket.onmessage = socket.onclose = null;
      if (socket.readyState < WebSocket.CLOSING) socket.close(1000);
    }
    for (const ref of [...this.#requests.keys()])
      this.#settle(ref, { error: { code: "disconnected", message: `closed (${code})` } });
  }

  /** The server is alive: wait for the next sign. */
  #heard() {
    clearTimeout(this.#timers.silence);
    if (this.#patience < Infinity)
      this.#timers.silence = setTimeout(() => this.#lost(1006, "silent"), this.#patience);
  }

  /** The machine changed its network: do not wait for a time-out to find out what that means. */
  #networkChanged() {
    if (this.status.state === "offline" && navigator.onLine) this.#open();
    if (this.status.state !== "online") return;
    const attempt = this.#attempt;
    const dead = () => attempt === this.#attempt && this.#lost(1006, "network changed");
    this.#request({ type: "sessions" }, PROBE).catch((error) => error.code === "timeout" && dead());
  }

  /** @param {Record<string, any>} frame @param {number} [timeout] @returns {Promise<any>} */
  #request(frame, timeout = ANSWER) {
    return new Promise((resolve, reject) => {
      const ref = String(++this.#refs);
      if (this.status.state !== "online" || !this.#write({ ...frame, ref }))
        return reject(new GatewayError("offline", "not connected"));
      const late = { error: { code: "timeout", message: "no answer" } };
      const timer = setTimeout(() => this.#settle(ref, late), timeout);
      this.#requests.set(ref, { resolve, reject, timer });
    });
  }

  /** @param {string} ref @param {any} reply */
  #settle(ref, reply) {
    const request = this.#requests.get(ref);
    if (!request) return;
    this.#requests.delete(ref);
    clearTimeout(request.timer);
    if (reply.ok) request.resolve(reply);
    else request.reject(new GatewayError(reply.error?.code ?? "unknown", reply.error?.message ?? ""));
  }

  /** @param {Record<string, any>} frame @returns {boolean} whether it left */
  #write(frame) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(frame));
    return true;
  }

  /** @param {Status} status */
  #setStatus(status) {
    this.status = status;
    this.#emit("status", status);
  }

  /** A handler that throws does not stop the others, nor the socket. @param {string} name @param {any} detail */
  #emit(name, detail) {
    for (const handler of [...(this.#handlers.get(name) ?? [])]) {
      try {
        handler(detail);
      } catch (error) {
        reportError(error);
      }
    }
  }
}

const STORED = "gateway.client_id";

/**
 * A ULID that a tab keeps over reloads and that no other tab has. Duplicating a tab copies its
 * sessionStorage, so the id is there only while no page uses it: taken at the start, put back when
 * the page goes.
 * @param {Storage} [storage] @returns {string}
 */
function tabId(storage) {
  try {
    const store = storage ?? sessionStorage;
    const id = store.getItem(STORED) ?? ulid();
    store.removeItem(STORED);
    addEventListener("pagehide", () => store.setItem(STORED, id));
    addEventListener("pageshow", (event) => event.persisted && store.removeItem(STORED));
    return id;
  } catch {
    return ulid(); // storage is forbidden here: a new id for each page
  }
}

/** @returns {string} 48 bits of time, 80 of chance, in Crockford's base 32 */
export function ulid(now = Date.now()) {
  const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
  let time = "";
  for (let left = now, i = 0; i < 10; i++, left = Math.floor(left / 32)) time = alphabet[left % 32] + time;
  const chance = crypto.getRandomValues(new Uint8Array(16));
  return time + Array.from(chance, (byte) => alphabet[byte % 32]).join("");
}
