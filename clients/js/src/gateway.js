/**
 * The browser's side of `gateway.v1`: one socket that stays, or says when it is back.
 *
 *     import { Gateway } from "django-gateway-client"; // or "/gateway.js"
 *     const gateway = new Gateway("wss://example.com/", { getToken: () => fetchToken() });
 *     gateway.on("order.paid", (data) => …);
 *     gateway.on("reset", () => reloadEverything());
 *     gateway.on("status", ({ state, retryAt }) => …);
 *
 * Durable messages arrive once and in order, across reconnects too. What cannot be delivered is
 * announced by `reset`.
 */
export { GatewayError, shouldReconnect } from "./errors.js";
export { Gateway } from "./client.js";
export { ulid } from "./identity.js";

/**
 * @typedef {import("./types.js").Position} Position
 * @typedef {import("./types.js").Status} Status
 * @typedef {import("./types.js").Welcome} Welcome
 * @typedef {import("./types.js").Session} Session
 */
/** @template {string} [Event=string] @template [Data=any] @typedef {import("./types.js").Message<Event, Data>} Message */
/** @template [State=any] @typedef {import("./types.js").Options<State>} Options */
/** @template [State=any] @typedef {import("./types.js").Loaded<State>} Loaded */
