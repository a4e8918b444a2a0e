/**
 * What happens to the page that the client is on. Outside of a page nothing does.
 * @typedef {object} Changes
 * @property {() => void} network  it came, or went
 * @property {() => void} looked  somebody looks at the page again, perhaps after a sleep
 * @property {() => void} left  the page goes; "Back" may show it again
 * @property {(isAgain: boolean) => void} shown  it is shown; `isAgain`: by "Back", as it was
 */

/** Listen; returns what stops that. @param {Changes} changes @returns {() => void} */
export function watch(changes) {
  const visible = () => !isHidden() && changes.looked();
  /** @type {[any, string, (event: any) => void][]} */
  const listeners = [
    [globalThis, "online", changes.network],
    [globalThis, "offline", changes.network],
    [globalThis, "focus", changes.looked],
    [globalThis, "pagehide", changes.left],
    [globalThis, "pageshow", (event) => changes.shown(event.persisted)],
    [globalThis.document, "visibilitychange", visible], // a worker has no document
  ];
  for (const [target, name, listener] of listeners) target?.addEventListener?.(name, listener);
  return () => {
    for (const [target, name, listener] of listeners) target?.removeEventListener?.(name, listener);
  };
}

/** Whether this is a page that nobody looks at. */
export const isHidden = () => globalThis.document?.visibilityState === "hidden";

/** Whether there may be a network. */
export const hasNetwork = () => globalThis.navigator?.onLine !== false;
