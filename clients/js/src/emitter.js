/** @import { Message, Own } from "./types.js" */

/** @type {Record<keyof Own, 1>} */
const OWN = { message: 1, reset: 1, missed: 1, status: 1, welcome: 1, error: 1 };
const EVENT = "event:";

/** Under which key the handlers of a name are: an event whose name is the client's own is never meant. @param {string} name */
const key = (name) => (Object.hasOwn(OWN, name) || name.startsWith(EVENT) ? name : EVENT + name);

/** Handlers by name. A handler that throws does not stop the others, nor the socket. */
export class Emitter {
  /** @type {Map<string, Map<Function, boolean>>} With each, whether it is for once. */ #handlers = new Map();

  /** @param {string} name @param {Function} handler @param {boolean} [isOnce] @returns {() => void} stops listening */
  on(name, handler, isOnce = false) {
    const handlers = this.#handlers.get(key(name)) ?? new Map();
    this.#handlers.set(key(name), handlers.set(handler, isOnce));
    return () => this.off(name, handler);
  }

  /** @param {string} name @param {Function} handler */
  off(name, handler) {
    const handlers = this.#handlers.get(key(name));
    handlers?.delete(handler);
    if (handlers?.size === 0) this.#handlers.delete(key(name));
  }

  /** @template {keyof Own} Name @param {Name} name @param {Own[Name]} detail */
  emit(name, detail) {
    if (!this.#call(name, detail) && name === "error") reportError(detail);
  }

  /** @param {Message} message */
  message(message) {
    this.#call("message", message);
    this.#call(EVENT + message.event, message.data, message);
  }

  /** @param {string} name @param {unknown[]} details @returns {boolean} whether anybody listens */
  #call(name, ...details) {
    const handlers = [...(this.#handlers.get(name) ?? [])];
    for (const [handler, isOnce] of handlers) {
      if (isOnce) this.off(name, handler);
      try {
        handler(...details);
      } catch (error) {
        reportError(error);
      }
    }
    return handlers.length > 0;
  }
}

/** Node has no `reportError`, and an exception that nobody catches would end it. @param {unknown} error */
function reportError(error) {
  if (globalThis.reportError) globalThis.reportError(error);
  else console.error(error);
}
