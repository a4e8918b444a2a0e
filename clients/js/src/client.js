import { backOff, CLOCK } from "./clock.js";
import { Emitter } from "./emitter.js";
import { GatewayError, shouldReconnect } from "./errors.js";
import { tab, ulid } from "./identity.js";
import { Intake } from "./intake.js";
import { iterate } from "./iterate.js";
import { Link } from "./link.js";
import { hasNetwork, isHidden, watch } from "./page.js";
import { Refresher } from "./refresher.js";

const PROBE = 4_000; // ms for the reply that tells whether the line is alive
const STABLE = 5_000; // ms online after which a loss counts as the first one again
const QUIET = 5_000; // ms without a frame after which a page that is looked at again asks
const LOOKED_AT = 2_000; // ms between two attempts that were made because somebody looked
const LINGER = 10_000; // ms that a connection that was replaced may take to end
const LONGEST_EVENT = 255; // characters of an event's name

/** @import { Clock } from "./clock.js" */
/** @import { Waiting } from "./link.js" */
/** @import { Handler, Message, Name, Options, Position, Session, Status } from "./types.js" */

/**
 * One connection that stays, or says when it is back.
 *
 *     closed --connect()--> connecting --welcome--> online --lost--> offline --later--> connecting
 *        ^------------------- close(), or a verdict of the server, from anywhere --------'
 *
 * There are up to three links: `link` is the one that we send on; `next` is on its way to be it;
 * `last` was it, and is read to its end. `next` and `link` are there together while a node sends its
 * clients away: the new connection is made before the old one breaks.
 *
 * `Events`: the data of each event, by name. `State`: what `load` gives.
 * @template {Record<string, any>} [Events=Record<string, any>]
 * @template [State=any]
 */
export class Gateway {
  /** @type {Status} */ status = { state: "closed" };
  /** @type {string} What `exclude_client` takes. */ clientId;

  #url; #options; #clock; #tab; #intake; #refresher;
  #emitter = new Emitter();
  /** @type {Link | undefined} */ #link;
  /** @type {Link | undefined} */ #next;
  /** @type {Link | undefined} */ #last;
  /** @type {string | undefined} The token that the server has had last. */ #token;
  /** @type {unknown} The next attempt. */ #timer;
  #failures = 0; // attempts in a row, and connections that did not last
  /** @type {number | undefined} */ #onlineSince; // by the clock's ticks, like all times here
  /** @type {number | undefined} */ #returnAt; // as `closing` announced
  #lookedAt = -Infinity; // when somebody last looked at the page and it tried for that
  #isProbing = false;
  #isAway = false; // whether the page was left, and has not come back
  #isIdFree = false; // whether the tab's id is where another may take it
  #unwatch = () => {};

  /**
   * Connects at once, unless `connect: false`. Throws TypeError for options that are none.
   * @param {string | URL} url @param {Options<State>} [options] @param {Clock} [clock]  for tests
   */
  constructor(url, options = {}, clock = CLOCK) {
    const { clientId, storage, connect = true } = options;
    this.#url = url;
    this.#options = options;
    this.#clock = clock;
    this.#tab = clientId === undefined ? tab(storage) : undefined;
    this.#intake = new Intake({
      clock,
      emitter: this.#emitter,
      options,
      reopen: () => this.#reopen(),
      ack: (position) => this.#link?.write({ type: "ack", ...position }),
    });
    this.#refresher = new Refresher(clock, () => this.#refresh());
    this.clientId = clientId ?? ((connect && this.#tab?.take()) || ulid());
    this.#isIdFree = !connect;
    if (connect) this.connect();
  }

  /** The last position that this page has processed. @returns {Position | undefined} */
  get position() {
    return this.#intake.position;
  }

  /**
   * Listen to what the client itself tells (`message`, `reset`, `missed`, `status`, `welcome`,
   * `error`), or to an event by its name: the handler gets its data, and the message. An event that
   * has a name of the client's own is `event:` and that name. Returns what stops listening.
   * @template {Name<Events>} Named
   * @param {Named} name @param {Handler<Events, Named>} handler @returns {() => void}
   */
  on(name, handler) {
    return this.#emitter.on(name, handler);
  }

  /**
   * As `on`, for the first time only.
   * @template {Name<Events>} Named
   * @param {Named} name @param {Handler<Events, Named>} handler @returns {() => void}
   */
  once(name, handler) {
    return this.#emitter.on(name, handler, true);
  }

  /**
   * Stop listening with this handler of `on` or `once`.
   * @template {Name<Events>} Named
   * @param {Named} name @param {Handler<Events, Named>} handler
   */
  off(name, handler) {
    this.#emitter.off(name, handler);
  }

  /**
   * Messages, one by one, until `close()` or a verdict. At most 1,000 wait: then it throws
   * GatewayError `too_slow`.
   */
  [Symbol.asyncIterator]() {
    return iterate(/** @type {any} */ (this));
  }

  /**
   * Send to the workers and the Django code that serve this user. Rejects with GatewayError:
   * `offline`, `too_large` or `bad_message` (nothing was sent), `disconnected` or `timeout`
   * (unknown), or the server's own code; and with the signal's reason when that aborts (unknown).
   * @param {string} event @param {any} [data] @param {Waiting} [waiting]  `timeout` in ms, 10,000 if
   *   not given @returns {Promise<any>}
   */
  send(event, data = null, waiting) {
    if (typeof event !== "string" || !event || [...event].length > LONGEST_EVENT)
      return refused("bad_message", `an event has 1 to ${LONGEST_EVENT} characters`);
    if (typeof data === "function" || typeof data === "symbol")
      return refused("bad_message", "data has no JSON form: send what JSON.stringify takes");
    return this.#request({ type: "send", event, data }, waiting);
  }

  /** This user's live sessions. @param {Waiting} [waiting] @returns {Promise<Session[]>} */
  async sessions(waiting) {
    return (await this.#request({ type: "sessions" }, waiting)).sessions;
  }

  /**
   * With `ack: "manual"`: this message is processed, and all durable ones before it.
   * @param {{ offset?: number }} message
   */
  ack({ offset }) {
    if (offset !== undefined) this.#intake.processed(offset);
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

  // --- one connection after the other

  #open() {
    this.#clock.cancel(this.#timer);
    this.#isAway = false;
    if (this.status.state === "closed") this.#enter();
    this.#next?.drop(1000);
    const next = (this.#next = new Link(this.#owner, this.#intake.cursor));
    if (!this.#link) this.#setStatus({ state: "connecting" });
    if (next === this.#next) next.open(); // else a handler of `status` has closed
  }

  /** Connect anew, from where the page stands now. */
  #reopen() {
    if (!this.#link && !this.#next) return; // it will, by itself
    this.#drop(1000);
    this.#open();
  }

  /** @type {import("./link.js").Owner} */
  get #owner() {
    return {
      clock: this.#clock,
      WebSocket: () => this.#options.WebSocket ?? globalThis.WebSocket,
      token: async () => this.#options.getToken?.(),
      address: (link) => this.#address(link.from),
      received: (link, frame, size) => this.#received(link, frame, size),
      lost: (link, code, reason) => this.#lost(link, code, reason),
    };
  }

  /** What to connect to. @param {Position | undefined} from @returns {URL} */
  #address(from) {
    const url = new URL(this.#url);
    const given = { ...this.#options.query, client_id: this.clientId, ...from };
    for (const [name, value] of Object.entries(given)) url.searchParams.set(name, String(value));
    return url;
  }

  /** @param {Link} link @param {any} frame @param {number} size */
  #received(link, frame, size) {
    if (frame.missed && frame.type === "ping") this.#intake.missed(frame.missed);
    if (frame.type === "welcome") this.#welcomed(link, frame);
    if (!link.welcomed) return;
    if (frame.type === "message") this.#intake.message(link, frame, size);
    if (frame.type === "position") this.#intake.moved(link, frame);
    // What one that was replaced still brings has a gap from now on: it counts no more.
    if (frame.type === "reset") link.epoch = link === this.#link ? frame.epoch : undefined;
    if (link !== this.#link) return;
    if (frame.type === "reset") this.#intake.reset(frame)();
    if (frame.type === "closing") this.#leaves(frame.reconnect_after * 1000);
  }

  /** @param {Link} link @param {any} frame */
  #welcomed(link, frame) {
    this.#last?.drop(1000);
    this.#last = this.#link;
    this.#last?.expire(LINGER);
    this.#link = link;
    this.#next = undefined;
    this.#clock.cancel(this.#timer);
    this.#onlineSince = this.#clock.ticks();
    this.#returnAt = undefined;
    this.#token = link.token;
    this.#refresher.told(frame.expires_in);
    const then = this.#intake.welcome(link, frame);
    if (this.status.state !== "online") this.#setStatus({ state: "online" });
    if (link === this.#link) this.#emitter.emit("welcome", frame);
    if (link === this.#link) then?.(); // else whoever heard that has closed it
  }

  /** The server will close: come back after so many ms. @param {number} ms */
  #leaves(ms) {
    this.#returnAt = this.#clock.ticks() + ms;
    this.#clock.cancel(this.#timer);
    this.#timer = this.#clock.after(() => this.#waits() || this.#open(), ms);
  }

  /** @param {Link} link @param {number} code @param {string} reason */
  #lost(link, code, reason) {
    if (link === this.#last) {
      this.#last = undefined;
    } else if (link === this.#next) {
      this.#next = undefined;
      this.#failures += 1;
      if (!this.#link) this.#gone(code, reason);
      else if (shouldReconnect(code)) this.#leaves(backOff(this.#clock, this.#failures - 1));
    } else if (this.#next?.isTold) {
      this.#link = undefined; // replaced, whatever its code is
      this.#setStatus({ state: "connecting" });
    } else {
      this.#failures += 1;
      this.#gone(code, reason);
    }
  }

  /** There is no connection any more. @param {number} code @param {string} reason */
  #gone(code, reason) {
    this.#drop(code);
    if (!shouldReconnect(code)) return this.#setStatus({ state: "closed", code, reason });
    const now = this.#clock.ticks();
    if (this.#onlineSince !== undefined && now - this.#onlineSince > STABLE) this.#failures = 1;
    this.#onlineSince = undefined;
    const backOffPause = backOff(this.#clock, this.#failures - 1);
    const hasExpired = code === 4003 && this.#failures === 1;
    const planned = (this.#returnAt ?? now) - now;
    const pause = planned > 0 ? planned : hasExpired ? 0 : backOffPause;
    this.#return(pause, { state: "offline", code, reason });
  }

  /** @param {number} pause  ms @param {Status} status */
  #return(pause, status) {
    this.#timer = this.#clock.after(() => this.#waits() || this.#open(), pause);
    this.#setStatus(this.#waits() ? status : { ...status, retryAt: this.#clock.date() + pause });
  }

  /** Whether nobody looks at the page, and it comes back for that only. */
  #waits() {
    return this.#options.whenHidden === "wait" && isHidden();
  }

  /** Forget every connection. @param {number} code */
  #drop(code) {
    const links = [this.#link, this.#next, this.#last];
    this.#link = this.#next = this.#last = undefined;
    this.#clock.cancel(this.#timer);
    this.#refresher.stop();
    for (const link of links) link?.drop(code);
  }

  /** @param {Status} status */
  #setStatus(status) {
    this.status = status;
    if (status.state === "closed") this.#leave();
    this.#emitter.emit("status", status);
  }

  // --- requests

  /** @param {Record<string, any>} frame @param {Waiting} [waiting] @returns {Promise<any>} */
  #request(frame, waiting) {
    return this.#link?.request(frame, waiting) ?? refused("offline", "not connected");
  }

  /** Give the server the next token. @returns {Promise<number | undefined>} seconds until that ends */
  async #refresh() {
    const link = this.#link;
    if (!this.#options.getToken || !link) return undefined;
    try {
      const token = await this.#options.getToken();
      if (link !== this.#link) return undefined; // another connection has had another one
      if (!token || token === this.#token)
        throw new GatewayError("refresh_failed", "getToken gave the same token again, or none");
      const { expires_in } = await link.request({ type: "refresh", token });
      this.#token = token;
      return expires_in;
    } catch (error) {
      const text = "there is no new token: it is tried again";
      if (link === this.#link) this.#emitter.emit("error", new GatewayError("refresh_failed", text, error));
      throw error;
    }
  }

  /** Find out whether the line is alive. @param {string} reason  of the loss, if it is not */
  #probe(reason) {
    const link = this.#link;
    if (this.#isProbing || !link) return;
    this.#isProbing = true;
    // An `ack` says nothing new, and its answer is the smallest that there is.
    link
      .request({ type: "ack", ...this.position }, { timeout: PROBE })
      .catch((error) => error.code === "timeout" && link.end(1006, reason))
      .finally(() => (this.#isProbing = false));
  }

  // --- the page

  /** Listen to the page, and take this tab's id. */
  #enter() {
    // After a close the id is free: another on this page may have it by now.
    if (this.#isIdFree) this.clientId = this.#tab?.take() ?? ulid();
    this.#isIdFree = false;
    this.#unwatch = watch({
      network: () => this.#networkChanged(),
      looked: () => this.#looked(),
      left: () => this.#left(),
      shown: (isAgain) => this.#shown(isAgain),
    });
    this.#intake.start();
  }

  #leave() {
    this.#unwatch();
    this.#unwatch = () => {};
    this.#intake.stop();
    this.#isIdFree ||= this.#tab?.keep(this.clientId) ?? false;
  }

  /** The machine changed its network: do not wait for a time-out to find out what that means. */
  #networkChanged() {
    if (this.status.state === "offline" && hasNetwork() && !this.#waits()) this.#open();
    else this.#probe("network changed");
  }

  /** Somebody looks at the page again, perhaps after a sleep: what they see should be true soon. */
  #looked() {
    this.#refresher.look();
    if (this.#link) {
      if (this.#link.silentFor >= QUIET) this.#probe("no answer");
    } else if (this.status.state === "offline") {
      const now = this.#clock.ticks();
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
    this.#tab?.keep(this.clientId);
    this.#drop(1000);
    this.#isAway = true;
    this.#setStatus({ state: "offline", code: 1000, reason: "the page was left" });
  }

  /** The page was opened, or "Back" shows it again. @param {boolean} isAgain */
  #shown(isAgain) {
    if (isAgain) this.#tab?.take();
    if (!this.#isAway) return this.#looked();
    this.#isAway = false;
    const pause = (this.#returnAt ?? 0) - this.#clock.ticks();
    if (pause <= 0) this.#open();
    else this.#return(pause, this.status);
  }
}

/** @param {string} code @param {string} message @returns {Promise<never>} */
const refused = (code, message) => Promise.reject(new GatewayError(code, message));
