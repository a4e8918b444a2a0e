/** A request that was refused or lost, or something that the client tries again. `code` is for programs. */
export class GatewayError extends Error {
  /** @param {string} code @param {string} message @param {unknown} [cause] */
  constructor(code, message, cause) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "GatewayError";
    /** @type {string} */ this.code = code;
  }
}

/**
 * Whether a socket closed with `code` should come back: only 4500-4999 are a verdict. Everything
 * else, 1000 and "no code" of a proxy too, is a lost line. @param {number} code
 */
export function shouldReconnect(code) {
  return !(code >= 4500 && code < 5000);
}
