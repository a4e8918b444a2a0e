import { moment, since } from "./clock.js";
import { GatewayError } from "./errors.js";
import { encode, fits, written } from "./json.js";

const HANDSHAKE = 15_000; // ms from asking for a token to the welcome
const SILENCE = 10_000; // ms that a ping may be late
const ANSWER = 10_000; // ms for a reply
const SENDABLE = /^[\w!#$%&'*+\-.^`|~]+$/; // a subprotocol, as RFC 9110 section 5.6.2 has tokens

/** @import { Clock } from "./clock.js" */
/** @import { Position } from "./types.js" */
/**
 * Who a link belongs to.
 * @typedef {object} Owner
 * @property {Clock} clock
 * @property {() => any} WebSocket  the class
 * @property {() => string | undefined | Promise<string | undefined>} token
 * @property {(link: Link) => URL} address
 * @property {(link: Link, frame: any, size: number) => void} received  every frame; `size`: of its text
 * @property {(link: Link, code: number, reason: string) => void} lost  once, unless it was dropped
 */
/** @typedef {{ timeout?: number, signal?: AbortSignal }} Waiting */

/**
 * One connection, from its handshake to its end: it answers pings, knows whether the server is
 * silent, and pairs replies with requests. What frames mean is the owner's.
 */
export class Link {
  /** Whether `welcome` has come. */ welcomed = false;
  /** @type {string | undefined} The token that it opened with. */ token;
  /** @type {string | undefined} Whose offsets its messages have. */ epoch;

  /** @type {Owner} */ #owner;
  /** @type {any} */ #socket;
  /** @type {Map<string, (reply: any) => void>} */ #requests = new Map();
  #refs = 0;
  #isOver = false;
  #patience = HANDSHAKE; // ms without a frame until the server counts as gone
  #largest = Infinity; // bytes of a frame, as `welcome` says
  /** @type {import("./clock.js").Moment} */ #heardAt;
  /** @type {unknown} */ #silence;
  /** @type {unknown} */ #expiry;

  /** @param {Owner} owner @param {Position | undefined} from  the position that the handshake names */
  constructor(owner, from) {
    this.#owner = owner;
    this.from = from;
    this.#heardAt = moment(owner.clock);
  }

  /** Whether a server may have heard of it. */
  get isTold() {
    return this.#socket !== undefined;
  }

  /** The ms since the last frame, time asleep too. */
  get silentFor() {
    return since(this.#owner.clock, this.#heardAt);
  }

  /** Ask for a token, and connect. */
  async open() {
    this.#heard(); // a token that never comes is a failure too
    try {
      this.token = await this.#owner.token();
    } catch (error) {
      return this.end(1006, `no token: ${error}`);
    }
    if (this.#isOver) return;
    const protocols = ["gateway.v1", ...(this.token ? [`gateway.bearer.${this.token}`] : [])];
    const WebSocket = this.#owner.WebSocket();
    if (!WebSocket) return this.end(4500, "no WebSocket here: give one as the option WebSocket");
    let socket;
    try {
      socket = this.#socket = new WebSocket(this.#owner.address(this), protocols);
    } catch {
      // The same again would fail again. The error is not passed on: its text holds the token.
      if (protocols.every((name) => SENDABLE.test(name))) this.end(4500, "no address for a WebSocket");
      else this.end(4501, "the token has characters that a WebSocket cannot carry");
      return;
    }
    socket.onmessage = (/** @type {any} */ { data }) => this.#received(data);
    socket.onclose = (/** @type {any} */ { code, reason }) => this.end(code, reason);
    socket.onerror = () => {}; // what it was, nobody says; a close follows
  }

  /** Close it, whatever state it is in: a dead line would take minutes. @param {number} code */
  drop(code) {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#owner.clock.cancel(this.#silence);
    this.#owner.clock.cancel(this.#expiry);
    if (this.#socket) {
      this.#socket.onmessage = this.#socket.onclose = null;
      if (this.#socket.readyState < 2) this.#socket.close(1000);
    }
    const lost = { error: { code: "disconnected", message: `closed (${code})` } };
    for (const settle of [...this.#requests.values()]) settle(lost);
  }

  /** Drop it, and tell the owner. @param {number} code @param {string} reason */
  end(code, reason) {
    if (this.#isOver) return;
    this.drop(code);
    this.#owner.lost(this, code, reason);
  }

  /** Leave the server no more time than that. @param {number} ms */
  expire(ms) {
    this.#expiry = this.#owner.clock.after(() => this.end(1006, "it lives too long"), ms);
  }

  /** @param {Record<string, any>} frame @returns {boolean} whether it left */
  write(frame) {
    return this.#send(encode(frame));
  }

  /**
   * The reply to a frame. Rejects with GatewayError, or with the reason of an aborted signal.
   * @param {Record<string, any>} frame @param {Waiting} [waiting] @returns {Promise<any>}
   */
  async request(frame, { timeout = ANSWER, signal } = {}) {
    signal?.throwIfAborted();
    const ref = String(++this.#refs);
    const text = written({ ...frame, ref });
    if (!fits(text, this.#largest)) {
      const remedy = `a frame has at most ${this.#largest} bytes: send less, or where it can be had`;
      throw new GatewayError("too_large", remedy);
    }
    if (!this.#send(text)) throw new GatewayError("offline", "not connected");
    const reply = await this.#answer(ref, timeout, signal);
    if (signal?.aborted && !reply) throw signal.reason;
    if (reply.ok) return reply;
    throw new GatewayError(reply.error?.code ?? "unknown", reply.error?.message ?? "");
  }

  /** @param {string} ref @param {number} timeout @param {AbortSignal} [signal] @returns {Promise<any>} */
  #answer(ref, timeout, signal) {
    const { clock } = this.#owner;
    return new Promise((resolve) => {
      const settle = (/** @type {any} */ reply) => {
        this.#requests.delete(ref);
        clock.cancel(timer);
        signal?.removeEventListener("abort", abort);
        resolve(reply);
      };
      const abort = () => settle(undefined);
      const late = { error: { code: "timeout", message: "no answer" } };
      const timer = timeout < Infinity ? clock.after(() => settle(late), timeout) : undefined;
      signal?.addEventListener("abort", abort);
      this.#requests.set(ref, settle);
    });
  }

  /** @param {string} text @returns {boolean} whether it left */
  #send(text) {
    if (this.#socket?.readyState !== 1) return false;
    this.#socket.send(text);
    return true;
  }

  /** @param {string} text */
  #received(text) {
    this.#heard();
    let frame, type;
    try {
      frame = JSON.parse(text);
      type = frame.type;
    } catch {
      return this.end(1006, "a frame that cannot be read");
    }
    if (type === "welcome") this.#welcome(frame);
    if (type === "ping") this.write({ type: "pong" });
    if (type === "reply") this.#requests.get(String(frame.ref))?.(frame);
    else this.#owner.received(this, frame, text.length);
  }

  /** @param {any} frame */
  #welcome(frame) {
    this.welcomed = true;
    this.epoch = frame.epoch;
    this.#largest = frame.limits?.frame ?? Infinity;
    this.#patience = frame.heartbeat ? frame.heartbeat * 1000 + SILENCE : Infinity;
    this.#heard();
  }

  /** The server is alive: wait for the next sign. */
  #heard() {
    const { clock } = this.#owner;
    this.#heardAt = moment(clock);
    clock.cancel(this.#silence);
    if (this.#patience < Infinity)
      this.#silence = clock.after(() => this.end(1006, "silent"), this.#patience);
  }
}
