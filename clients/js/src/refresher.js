import { moment, since } from "./clock.js";

const SOONEST = 10_000; // ms between two attempts
const LONGEST = 300_000; // ms between two that failed
const LOOK_EVERY = 86_400_000; // ms: no timer holds a month

/** @import { Clock } from "./clock.js" */

/** Asks for the next proof before this one ends: at 70 to 90 % of its time, at random. */
export class Refresher {
  #clock; #ask;
  /** @type {import("./clock.js").Moment} */ #from;
  /** @type {number | undefined} */ #wait; // ms after `from`; undefined: nothing is planned
  /** @type {unknown} */ #timer;
  #failures = 0;

  /** @param {Clock} clock @param {() => Promise<number | undefined>} ask  gives the next `expires_in`, in seconds */
  constructor(clock, ask) {
    this.#clock = clock;
    this.#ask = ask;
    this.#from = moment(clock);
  }

  /** The proof ends in so many seconds; undefined: never. @param {number | undefined} expiresIn */
  told(expiresIn) {
    this.#failures = 0;
    const share = 0.7 + 0.2 * this.#clock.chance();
    this.#plan(expiresIn === undefined ? undefined : Math.max(SOONEST, expiresIn * 1000 * share));
  }

  stop() {
    this.#plan(undefined);
  }

  /** What is due is done: timers stand still while some machines sleep. */
  look() {
    if (this.#wait === undefined) return;
    const left = this.#wait - since(this.#clock, this.#from);
    this.#clock.cancel(this.#timer);
    if (left < 1) this.#begin(); // timers know no part of a ms
    else this.#timer = this.#clock.after(() => this.look(), Math.min(left, LOOK_EVERY));
  }

  /** @param {number | undefined} wait */
  #plan(wait) {
    this.#clock.cancel(this.#timer);
    this.#from = moment(this.#clock);
    this.#wait = wait;
    this.look();
  }

  async #begin() {
    this.#wait = undefined;
    const from = this.#from;
    const isOurs = () => from === this.#from; // nothing was planned, or stopped, meanwhile
    try {
      const expiresIn = await this.#ask();
      if (isOurs()) this.told(expiresIn);
    } catch {
      if (isOurs()) this.#plan(Math.min(LONGEST, SOONEST * 2 ** this.#failures++));
    }
  }
}
