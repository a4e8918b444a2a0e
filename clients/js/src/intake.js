import { backOff } from "./clock.js";
import { GatewayError } from "./errors.js";

const MOST_HELD = 1_000; // messages that wait for a `load` ...
const LARGEST_HELD = 1_048_576; // ... and characters of them
const KNOWN_IDS = 512;
const ACK_EVERY = 1_000; // ms

/** @import { Clock } from "./clock.js" */
/** @import { Emitter } from "./emitter.js" */
/** @import { Link } from "./link.js" */
/** @import { Options, Position } from "./types.js" */

/**
 * A copy of a position; undefined for none. Throws TypeError. @param {Position | null} [position]
 */
export function checked(position) {
  if (position === undefined || position === null) return undefined;
  const { epoch, offset } = position;
  const isEpoch = typeof epoch === "string" && epoch !== "" && epoch.length <= 64;
  if (!isEpoch || !Number.isSafeInteger(offset) || offset < 0)
    throw new TypeError("position: give {epoch, offset}, as stream_position(user) has it, or null");
  return { epoch, offset };
}

/**
 * The user's stream as this page has it: what was received, what was processed, and what waits for
 * the state that is loaded.
 *
 *     loading --> applying --> live --> reset --> loading
 *        ^           |
 *        '- a pause <'   load or apply failed, a state of another epoch, too much is held
 *
 * Until it is live, messages are held. A reset, or a newer round, makes an older round void.
 */
export class Intake {
  /** @type {Position | undefined} The last position that the page has processed. */ position;
  /** @type {Position | undefined} Up to where it has received: what the next handshake names. */ cursor;

  /** @type {Parts} */ #parts;
  /** @type {Set<string>} The newest ephemeral messages: two connections may both bring one. */ #ids = new Set();
  /** @type {any[] | undefined} What waits; undefined: it is live. */ #held;
  #heldSize = 0;
  /** @type {Position | undefined} What is held follows this. */ #base;
  #delivered = 0; // the last durable offset that handlers have had
  #round = 0;
  #failures = 0; // loads in a row that were of no use
  #isStopped = true;
  /** @type {Record<string, unknown>} */ #timers = {};

  /**
   * @typedef {object} Parts
   * @property {Clock} clock
   * @property {Emitter} emitter
   * @property {Pick<Options, "position" | "load" | "apply" | "ack">} options
   * @property {() => void} reopen  connect anew, from the cursor
   * @property {(position: Position) => void} ack  tell the server what is processed
   */
  /** Throws TypeError for options that are none. @param {Parts} parts */
  constructor(parts) {
    const { position, load, apply } = parts.options;
    if (!load !== !apply) throw new TypeError("load and apply: give both, or neither");
    this.#parts = parts;
    this.cursor = this.#base = checked(position);
    if (load) this.#held = [];
    else this.#stand(this.cursor);
  }

  /** The page begins, or begins again: what is to be loaded is. */
  start() {
    this.#isStopped = false;
    if (this.#held) this.#load();
  }

  /** The page has had enough. */
  stop() {
    this.#isStopped = true;
    this.#round += 1;
    for (const timer of Object.values(this.#timers)) this.#parts.clock.cancel(timer);
    this.#timers = {};
  }

  /**
   * A connection has begun. Returns what is to be done once everybody knows that.
   * @param {Link} link @param {any} frame @returns {(() => void) | undefined}
   */
  welcome(link, frame) {
    const at = { epoch: frame.epoch, offset: frame.offset };
    const held = this.cursor?.epoch === at.epoch ? this.cursor : undefined;
    // A state was loaded while this connection, which named no position, was on its way.
    const isLate = this.cursor !== undefined && link.from === undefined;
    if (frame.recovered === false || (isLate && !held)) return this.reset(at);
    if (held && isLate && held.offset < at.offset) return this.#parts.reopen;
    if (held && (isLate || frame.recovered) && held.offset >= at.offset) return;
    this.cursor = at;
    this.#base = at;
    if (!this.#held) this.#stand(at);
  }

  /** What followed is gone. Returns what is to be done once everybody knows that. @param {Position} at */
  reset({ epoch, offset }) {
    const at = { epoch, offset };
    const { emitter, options } = this.#parts;
    this.cursor = at;
    if (options.load) this.#hold(at);
    else this.#stand(at);
    const round = this.#round;
    return () => {
      emitter.emit("reset", at);
      if (options.load && round === this.#round) this.#loadSoon();
    };
  }

  /** @param {Link} link @param {any} message @param {number} size  characters of its frame */
  message(link, message, size) {
    if (message.missed) this.missed(message.missed);
    if (message.offset === undefined ? this.#isNew(message.id) : this.#advance(link, message.offset))
      this.#take(message, size);
  }

  /** The stream went on without a message. @param {Link} link @param {any} frame */
  moved(link, frame) {
    if (this.#advance(link, frame.offset)) this.#take(frame, 0);
  }

  /** So many ephemeral messages were lost. @param {number} missed */
  missed(missed) {
    this.#parts.emitter.emit("missed", { missed });
  }

  /** All durable messages up to this offset are processed. @param {number} offset */
  processed(offset) {
    const { position } = this;
    if (!position || !(offset > position.offset)) return;
    this.position = { epoch: position.epoch, offset: Math.min(offset, this.#delivered) };
    this.#ackSoon();
  }

  #ackSoon() {
    if (this.#isStopped) return;
    this.#timers.ack ??= this.#parts.clock.after(() => {
      this.#timers.ack = undefined;
      if (this.position) this.#parts.ack(this.position);
    }, ACK_EVERY);
  }

  /** Everything up to here is processed. @param {Position | undefined} at */
  #stand(at) {
    this.position = at;
    this.#delivered = at?.offset ?? 0;
  }

  /** Whether it is further than what was received; then it is received. @param {Link} link @param {number} offset */
  #advance(link, offset) {
    if (!this.cursor || link.epoch !== this.cursor.epoch || offset <= this.cursor.offset) return false;
    this.cursor = { epoch: this.cursor.epoch, offset };
    return true;
  }

  /** @param {string} id */
  #isNew(id) {
    if (this.#ids.has(id)) return false;
    this.#ids.add(id);
    if (this.#ids.size > KNOWN_IDS) for (const oldest of this.#ids) return this.#ids.delete(oldest);
    return true;
  }

  /** @param {any} frame @param {number} size */
  #take(frame, size) {
    if (!this.#held) return this.#deliver(frame);
    this.#held.push(frame);
    this.#heldSize += size;
    if (this.#held.length <= MOST_HELD && this.#heldSize <= LARGEST_HELD) return;
    this.#hold(this.cursor);
    this.#loadAgain();
  }

  /** @param {any} frame */
  #deliver(frame) {
    const wasDone = this.position?.offset === this.#delivered; // nothing waits for `ack()`
    if (frame.offset !== undefined) this.#delivered = frame.offset;
    if (frame.type === "message") this.#parts.emitter.message(frame);
    const isDone = this.#parts.options.ack !== "manual" || (wasDone && frame.type !== "message");
    if (frame.offset !== undefined && isDone) this.processed(frame.offset);
  }

  /** What was held is of no use: hold what follows this. @param {Position | undefined} base */
  #hold(base) {
    const missed = this.#held?.filter(isEphemeral).length;
    this.#round += 1;
    this.#held = [];
    this.#heldSize = 0;
    this.#base = base;
    if (missed) this.missed(missed);
  }

  #loadAgain() {
    this.#failures += 1;
    this.#loadSoon();
  }

  #loadSoon() {
    const { clock } = this.#parts;
    this.#round += 1;
    clock.cancel(this.#timers.load);
    if (this.#isStopped) return;
    if (this.#failures === 0) return void this.#load();
    const pause = backOff(clock, this.#failures - 1);
    this.#timers.load = clock.after(() => this.#load(), pause);
  }

  async #load() {
    const round = ++this.#round;
    const { load, apply } = /** @type {Required<Options>} */ (this.#parts.options);
    let at;
    try {
      const state = await load();
      if (round !== this.#round) return;
      at = checked(state.position);
      if (!at) throw new TypeError("load: give {position, data}, with the position taken first");
      if (this.cursor && this.cursor.epoch !== at.epoch) return this.#loadAgain();
      await apply(state.data);
      if (round !== this.#round) return;
    } catch (error) {
      if (round !== this.#round) return;
      const text = "load or apply has failed: it is tried again";
      this.#parts.emitter.emit("error", new GatewayError("load_failed", text, error));
      return round === this.#round && this.#loadAgain();
    }
    this.#release(at);
  }

  /** The page shows the state of this position: what was held follows. @param {Position} at */
  #release(at) {
    const held = this.#held ?? [];
    const isGap = this.#base !== undefined && at.offset < this.#base.offset;
    const round = this.#round;
    this.#held = undefined;
    this.#heldSize = 0;
    this.#stand(at);
    this.#failures = isGap ? this.#failures + 1 : 0;
    if (isGap || !this.cursor || this.cursor.offset < at.offset) this.cursor = at;
    this.#ackSoon();
    for (const frame of held) {
      if (isEphemeral(frame) || (frame.offset > at.offset && !isGap)) this.#deliver(frame);
      if (round === this.#round) continue;
      this.cursor = { epoch: at.epoch, offset: this.#delivered }; // a handler has closed
      return;
    }
    if (isGap) this.#parts.reopen();
  }
}

/** @param {any} frame */
const isEphemeral = (frame) => frame.type === "message" && frame.offset === undefined;
