/**
 * Time and chance, so that a test can move the one and choose the other.
 * @typedef {object} Clock
 * @property {() => number} ticks  ms by a clock that nobody sets; it stops while some machines sleep
 * @property {() => number} date  ms since the epoch, as Date.now() counts
 * @property {() => number} chance  from 0 to 1
 * @property {(work: () => void, ms: number) => unknown} after
 * @property {(timer: any) => void} cancel
 */

/** @type {Clock} Looked up at each call: whoever replaces them later, as tests do, is heard. */
export const CLOCK = {
  ticks: () => performance.now(),
  date: () => Date.now(),
  chance: () => Math.random(),
  after: (work, ms) => setTimeout(work, ms),
  cancel: (timer) => clearTimeout(timer),
};

/** A moment by both clocks. @typedef {{ ticks: number, date: number }} Moment */

/** @param {Clock} clock @returns {Moment} */
export const moment = (clock) => ({ ticks: clock.ticks(), date: clock.date() });

/** The ms since a moment, time asleep too. @param {Clock} clock @param {Moment} then */
export const since = (clock, then) => Math.max(clock.ticks() - then.ticks, clock.date() - then.date);

const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 30_000;

/**
 * The ms to wait after so many failures in a row before this one. Full jitter: a thousand tabs that
 * lost the same server do not return together. @param {Clock} clock @param {number} failures
 */
export const backOff = (clock, failures) =>
  clock.chance() * Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** failures);
