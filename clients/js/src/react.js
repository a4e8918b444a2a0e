/**
 * Hooks for React 18 and newer, safe under StrictMode and on a server:
 *
 *     const gateway = useGateway("wss://gateway.example.com/", { getToken });
 *     const { state } = useStatus(gateway);
 *     useEvent(gateway, "order.paid", (order) => setOrders((orders) => [...orders, order]));
 */
import { useCallback, useEffect, useRef, useState, useSyncExternalStore } from "react";
import { Gateway } from "./gateway.js";

/** @import { Options, Status } from "./gateway.js" */
/** @import { Handler, Name } from "./types.js" */

/** @type {Status} */
const CLOSED = { state: "closed" };

/**
 * A gateway that is connected while the component is mounted. The url and the options are those of
 * the first time: for others give the component another `key`. Functions among the options may change.
 * @template {Record<string, any>} [Events=Record<string, any>]
 * @template [State=any]
 * @param {string | URL} url @param {Options<State>} [options] @returns {Gateway<Events, State>}
 */
export function useGateway(url, options = {}) {
  const latest = useRef(options);
  useEffect(() => void (latest.current = options));
  const [gateway] = useState(() => {
    const given = { ...options, ...current(latest), connect: false };
    return /** @type {Gateway<any, State>} */ (new Gateway(url, given));
  });
  useEffect(() => {
    gateway.connect();
    return () => gateway.close();
  }, [gateway]);
  return gateway;
}

/**
 * The functions of the options, as they are when they are called.
 * @template State @param {{ current: Options<State> }} latest @returns {Options<State>}
 */
function current(latest) {
  const { getToken, load, apply } = latest.current;
  return {
    ...(getToken && { getToken: () => latest.current.getToken?.() }),
    ...(load && { load: () => (latest.current.load ?? load)() }),
    ...(apply && { apply: (/** @type {State} */ state) => latest.current.apply?.(state) }),
  };
}

/** The gateway's `status`; the component is drawn anew when it changes. @param {Gateway<any, any>} gateway @returns {Status} */
export function useStatus(gateway) {
  const subscribe = useCallback((/** @type {() => void} */ changed) => gateway.on("status", changed), [gateway]);
  return useSyncExternalStore(subscribe, () => gateway.status, () => CLOSED);
}

/**
 * Listen while the component is mounted: as `gateway.on`. The newest handler is called.
 * @template {Record<string, any>} Events
 * @template {Name<Events>} Named
 * @param {Gateway<Events, any>} gateway @param {Named} name @param {Handler<Events, Named>} handler
 */
export function useEvent(gateway, name, handler) {
  const latest = useRef(handler);
  useEffect(() => void (latest.current = handler));
  useEffect(() => {
    const newest = (/** @type {any[]} */ ...details) => /** @type {Function} */ (latest.current)(...details);
    return gateway.on(name, /** @type {Handler<Events, Named>} */ (newest));
  }, [gateway, name]);
}
