import { GatewayError } from "./errors.js";

const MOST_WAITING = 1_000;

/** @import { Message, Status } from "./types.js" */

/**
 * Messages, one by one, until the gateway is closed. Throws GatewayError `too_slow` when so many
 * wait that nobody could hold them.
 * @param {{ status: Status, on(name: string, handler: (detail: any) => void): () => void }} gateway
 * @returns {AsyncGenerator<Message<any, any>, void, void>}
 */
export async function* iterate(gateway) {
  /** @type {Message[]} */
  const waiting = [];
  let isFull = false;
  let wake = () => {};
  const stop = gateway.on("message", (message) => {
    isFull ||= waiting.length >= MOST_WAITING;
    if (!isFull) waiting.push(message);
    wake();
  });
  const stopStatus = gateway.on("status", () => wake());
  try {
    while (waiting.length || isFull || gateway.status.state !== "closed") {
      const message = waiting.shift();
      if (message) yield message;
      else if (isFull) throw new GatewayError("too_slow", `more than ${MOST_WAITING} messages waited: read faster`);
      else await new Promise((resolve) => (wake = () => resolve(undefined)));
    }
  } finally {
    stop();
    stopStatus();
  }
}
