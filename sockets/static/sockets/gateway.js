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
 * A page that is left closes its socket; one that the browser's "Back" shows again returns.
 * Half a surrogate pair in what you send (text cut within an emoji) arrives as U+FFFD.
 */

/** @typedef {{epoch: string, offset: number}} Position */
/**
 * @typedef {object} Options
 * @property {() => string | Promise<string>} [getToken]  a fresh token; asked before every connection
 * @property {Position | null} [position]  where the page's data stands; without it you begin at "now"
 * @property {string} [clientId]  a ULID; by default one that is stable for this browser tab
 * @property {Storage} [storage]  where that ULID outlives a reload (default: sessionStorage)
 * @property {Record<string, string>} [query]  more parameters of the handshake
 */
/** @typedef {{id: string, event: string, data: any, time: number, offset?: number, missed?: number}} Message */
/**
 * @typedef {object} Status
 * @property {"connecting" | "online" | "offline" | "closed"} state  `closed` is final until `connect()`
 * @property {number} [retryAt]  offline: when the next attempt begins, as Date.now() counts; none
 *   while the page is left
 * @property {number} [code]  offline and closed: why (a close code; 1006 when nobody said)
 * @property {string} [reason]
 */

const HANDSHAKE = 15_000; // ms from the first packet to the welcome
const SILENCE = 10_000; // ms that a ping may be late
const ANSWER = 10_000; // ms for a reply
const PROBE = 4_000; // ms for the reply that tells whether the line is alive
const STABLE = 5_000; // ms online after which a loss counts as the first one again
const QUIET = 5_000; // ms without a frame after which a page that is looked at again asks
const LOOKED_AT = 2_000; // ms between two attempts that were made because somebody looked
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 30_000;
const ACK_EVERY = 1_000;
const SENDABLE = /^[\w!#$%&'*+\-.^`|~]+$/; // a subprotocol, as RFC 9110 section 5.6.2 has tokens

/**
 * Whether a socket closed with `code` should come back: only 4500-4999 are a verdict. Everything
 * else, 1000 and "no code" of a proxy too, is a lost line. @param {number} code
 */
export function shouldReconnect(code) {
  return !(code >= 4500 && code < 5000);
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

  #url; #getToken; #query; #tab;
  /** @type {WebSocket | undefined} */ #socket;
  /** @type {Map<string, Set<Function>>} */ #handlers = new Map();
  /** @type {Map<string, {resolve: Function, reject: Function, timer: any}>} */ #requests = new Map();
  #refs = 0;
  #attempt = 0; // counts connections, so that what belongs to an old one is recognised
  #failures = 0;
  /** @type {number | undefined} */ #onlineSince; // as performance.now() counts, like all times here
  #patience = HANDSHAKE; // ms without a frame until the server counts as gone
  /** @type {number | undefined} */ #returnAt; // as `closing` announced
  #lookedAt = -Infinity; // when somebody last looked at the page and it tried for that
  #heardAt = { ticks: 0, clock: 0 }; // the last frame; ticks stop while some machines sleep
  #probing = false;
  #largest = Infinity; // bytes of a frame, as `welcome` says
  #isAway = false; // whether the page was left, and has not come back
  #isIdFree = false; // whether a close has left it where another may take it
  #leave = () => {}; // stops listening to the page
  /** @type {Record<string, any>} */ #timers = {};

  /**
   * Connects at once. Throws TypeError for a position that is none.
   * @param {string | URL} url @param {Options} [options]
   */
  constructor(url, { getToken, position, clientId, storage, query } = {}) {
    this.position = checked(position);
    this.#url = url;
    this.#getToken = getToken;
    this.#query = query;
    this.#tab = clientId === undefined ? tab(storage) : undefined;
    this.clientId = clientId ?? this.#tab?.take() ?? ulid();
    this.connect();
  }

  /**
   * Listen to `message`, `reset`, `status`, `welcome` or `missed` (`{missed}`: so many ephemeral
   * messages were lost, because this page read too slowly); returns what stops listening.
   * @param {"message" | "reset" | "status" | "welcome" | "missed"} name
   * @param {(detail: any) => void} handler
   */
  on(name, handler) {
    const handlers = this.#handlers.get(name) ?? new Set();
    this.#handlers.set(name, handlers.add(handler));
    return () => handlers.delete(handler);
  }

  /**
   * Send to the workers and the Django code that serve this user. Rejects with GatewayError:
   * `offline` or `too_large` (nothing was sent), `disconnected` or `timeout` (unknown), or the
   * server's own code.
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

  /** Leave, until `connect()`; nothing on the page refers to this object any more. */
  close() {
    this.#drop(1000);
    this.#setStatus({ state: "closed", code: 1000, reason: "" });
  }

  async #open() {
    clearTimeout(this.#timers.retry);
    this.#isAway = false;
    if (this.status.state === "closed") this.#enter();
    const attempt = ++this.#attempt;
    this.#patience = HANDSHAKE;
    this.#setStatus({ state: "connecting" });
    if (attempt !== this.#attempt) return; // a handler of `status` has closed
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
        this.#onlineSince = performance.now();
        this.#returnAt = undefined;
        this.#largest = frame.limits?.frame ?? Infinity;
        this.position = { epoch: frame.epoch, offset: frame.offset };
        this.#setStatus({ state: "online" });
        if (this.status.state !== "online") break; // whoever heard that has closed it
        this.#emit("welcome", frame);
        if (frame.recovered === false) this.#emit("reset", this.position);
        break;
      case "message":
        if (frame.missed) this.#emit("missed", { missed: frame.missed });
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
        if (frame.missed) this.#emit("missed", { missed: frame.missed });
        break;
      case "reply":
        this.#settle(String(frame.ref), frame);
        break;
      case "closing":
        this.#returnAt = performance.now() + frame.reconnect_after * 1000;
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
    const now = performance.now();
    if (this.#onlineSince !== undefined && now - this.#onlineSince > STABLE) this.#failures = 0;
    this.#onlineSince = undefined;
    // Full jitter: a thousand tabs that lost the same server do not return together.
    const backOff = Math.random() * Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** this.#failures);
    const expired = code === 4003 && this.#failures === 0;
    const planned = this.#returnAt !== undefined && this.#returnAt > now ? this.#returnAt - now : undefined;
    const pause = planned ?? (expired ? 0 : backOff);
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
    this.#heardAt = { ticks: performance.now(), clock: Date.now() };
    clearTimeout(this.#timers.silence);
    if (this.#patience < Infinity)
      this.#timers.silence = setTimeout(() => this.#lost(1006, "silent"), this.#patience);
  }

  /** Listen to the page, and take this tab's id; `#leave` is how both end. */
  #enter() {
    const changed = () => this.#networkChanged();
    const looked = () => this.#looked();
    const left = () => this.#left();
    const shown = () => this.#shown();
    const visible = () => document.visibilityState === "visible" && this.#looked();
    /** @type {[EventTarget | undefined, string, (event: any) => void][]} */
    const listeners = [
      [globalThis, "online", changed],
      [globalThis, "offline", changed],
      [globalThis, "focus", looked],
      [globalThis, "pagehide", left],
      [globalThis, "pageshow", shown],
      [globalThis.document, "visibilitychange", visible], // a worker has no document
    ];
    const tab = this.#tab;
    if (tab) {
      // After a close the id is free: another on this page may have it by now.
      if (this.#isIdFree) this.clientId = tab.take() ?? ulid();
      listeners.push([globalThis, "pagehide", () => tab.keep(this.clientId)]);
      listeners.push([globalThis, "pageshow", (event) => event.persisted && tab.take()]);
    }
    for (const [target, name, listener] of listeners) target?.addEventListener(name, listener);
    this.#leave = () => {
      for (const [target, name, listener] of listeners) target?.removeEventListener(name, listener);
      this.#isIdFree = tab?.keep(this.clientId) ?? false;
      this.#leave = () => {};
    };
  }

  /** The machine changed its network: do not wait for a time-out to find out what that means. */
  #networkChanged() {
    if (this.status.state === "offline" && navigator.onLine) this.#open();
    if (this.status.state === "online") this.#probe("network changed");
  }

  /** Somebody looks at the page again, perhaps after a sleep: what they see should be true soon. */
  #looked() {
    const now = performance.now();
    if (this.status.state === "online") {
      const { ticks, clock } = this.#heardAt;
      if (Math.max(now - ticks, Date.now() - clock) >= QUIET) this.#probe("no answer");
    } else if (this.status.state === "offline") {
      if (now < (this.#returnAt ?? 0) || now - this.#lookedAt < LOOKED_AT) return;
      this.#lookedAt = now;
      this.#open();
    }
  }

  /**
   * The page goes. It may be kept for "Back", where it answers no ping: its user would count as
   * connected until the server has waited for one.
   */
  #left() {
    if (this.status.state === "closed") return;
    this.#drop(1000);
    this.#isAway = true;
    this.#setStatus({ state: "offline", code: 1000, reason: "the page was left" });
  }

  /** The page was opened, or "Back" shows it again. */
  #shown() {
    if (!this.#isAway) return this.#looked();
    this.#isAway = false;
    const pause = (this.#returnAt ?? 0) - performance.now();
    if (pause <= 0) return void this.#open();
    this.#timers.retry = setTimeout(() => this.#open(), pause);
    this.#setStatus({ ...this.status, retryAt: Date.now() + pause });
  }

  /** Find out whether the line is alive. @param {string} reason  of the loss, if it is not */
  #probe(reason) {
    if (this.#probing) return;
    this.#probing = true;
    const attempt = this.#attempt;
    // An `ack` says nothing new, and its answer is the smallest that there is.
    this.#request({ type: "ack", ...this.position }, PROBE)
      .catch((error) => {
        if (error.code === "timeout" && attempt === this.#attempt) this.#lost(1006, reason);
      })
      .finally(() => (this.#probing = false));
  }

  /** @param {Record<string, any>} frame @param {number} [timeout] @returns {Promise<any>} */
  #request(frame, timeout = ANSWER) {
    return new Promise((resolve, reject) => {
      const ref = String(++this.#refs);
      const text = encode({ ...frame, ref });
      if (this.status.state === "online" && !fits(text, this.#largest)) {
        const remedy = `a frame has at most ${this.#largest} bytes: send less, or where it can be had`;
        return reject(new GatewayError("too_large", remedy));
      }
      if (this.status.state !== "online" || !this.#send(text))
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
    return this.#send(encode(frame));
  }

  /** @param {string} text @returns {boolean} whether it left */
  #send(text) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(text);
    return true;
  }

  /** @param {Status} status */
  #setStatus(status) {
    this.status = status;
    if (status.state === "closed") this.#leave();
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

// What JSON.stringify escapes; the group is half of a surrogate pair (two halves only JSON.rawJSON brings).
const ESCAPE = /\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(u[dD][89a-fA-F]..)|.)/g;

/**
 * JSON whose text is well-formed, members' names too: half a surrogate pair becomes U+FFFD, as
 * `toWellFormed` does. @param {any} frame @returns {string}
 */
function encode(frame) {
  return JSON.stringify(frame).replace(ESCAPE, (escape, half) => (half ? "\ufffd" : escape));
}

/** Whether the text has at most so many bytes of UTF-8. @param {string} text @param {number} limit */
function fits(text, limit) {
  if (text.length > limit) return false;
  return text.length * 3 <= limit || new TextEncoder().encode(text).length <= limit;
}

/**
 * A copy of a position; undefined for none. Throws TypeError. @param {Position | null} [position]
 */
function checked(position) {
  if (position === undefined || position === null) return undefined;
  const { epoch, offset } = position;
  const isEpoch = typeof epoch === "string" && epoch !== "" && epoch.length <= 64;
  if (!isEpoch || !Number.isSafeInteger(offset) || offset < 0)
    throw new TypeError("position: give {epoch, offset}, as stream_position(user) has it, or null");
  return { epoch, offset };
}

const STORED = "gateway.client_id";

/**
 * Where a tab keeps its ULID over reloads. Duplicating a tab copies its sessionStorage, so the id
 * is in there only while no page uses it: taken at the start, kept when the page goes. A storage
 * that is forbidden means a new id for each page. @param {Storage} [storage]
 */
function tab(storage) {
  return {
    /** @returns {string | undefined} */
    take() {
      try {
        const store = storage ?? sessionStorage;
        const id = store.getItem(STORED) ?? undefined;
        store.removeItem(STORED);
        return id;
      } catch {}
    },
    /** @param {string} id @returns {boolean} whether it is kept */
    keep(id) {
      try {
        (storage ?? sessionStorage).setItem(STORED, id);
        return true;
      } catch {
        return false;
      }
    },
  };
}

/** @returns {string} 48 bits of time, 80 of chance, in Crockford's base 32 */
export function ulid(now = Date.now()) {
  const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
  let time = "";
  for (let left = now, i = 0; i < 10; i++, left = Math.floor(left / 32)) time = alphabet[left % 32] + time;
  const chance = crypto.getRandomValues(new Uint8Array(16));
  return time + Array.from(chance, (byte) => alphabet[byte % 32]).join("");
}
