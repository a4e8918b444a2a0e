import { GatewayError } from "./errors.js";

// What JSON.stringify escapes; the group is half of a surrogate pair (two halves only JSON.rawJSON brings).
const ESCAPE = /\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(u[dD][89a-fA-F]..)|.)/g;

/**
 * JSON whose text is well-formed, members' names too: half a surrogate pair becomes U+FFFD, as
 * `toWellFormed` does. @param {object} frame @returns {string}
 */
export function encode(frame) {
  return JSON.stringify(frame).replace(ESCAPE, (escape, half) => (half ? "\ufffd" : escape));
}

/** As `encode`. Throws GatewayError. @param {object} frame */
export function written(frame) {
  try {
    return encode(frame);
  } catch (error) {
    throw new GatewayError("bad_message", "data has no JSON form: send what JSON.stringify takes", error);
  }
}

/** Whether the text has at most so many bytes of UTF-8. @param {string} text @param {number} limit */
export function fits(text, limit) {
  if (text.length > limit) return false;
  return text.length * 3 <= limit || new TextEncoder().encode(text).length <= limit;
}
