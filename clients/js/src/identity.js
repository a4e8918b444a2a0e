/** @returns {string} 48 bits of time, 80 of chance, in Crockford's base 32 */
export function ulid(now = Date.now()) {
  const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
  let time = "";
  for (let left = now, i = 0; i < 10; i++, left = Math.floor(left / 32)) time = alphabet[left % 32] + time;
  const chance = crypto.getRandomValues(new Uint8Array(16));
  return time + Array.from(chance, (byte) => alphabet[byte % 32]).join("");
}

const STORED = "gateway.client_id";

/**
 * Where a tab keeps its ULID over reloads. Duplicating a tab copies its sessionStorage, so the id
 * is in there only while no page uses it: taken at the start, kept when the page goes. A storage
 * that is forbidden, or not there, means a new id for each page. @param {Storage} [storage]
 */
export function tab(storage) {
  return {
    /** @returns {string | undefined} */
    take() {
      try {
        const store = storage ?? sessionStorage;
        const id = store.getItem(STORED) ?? undefined;
        store.removeItem(STORED);
        return id;
      } catch {}
    },
    /** @param {string} id @returns {boolean} whether it is kept */
    keep(id) {
      try {
        (storage ?? sessionStorage).setItem(STORED, id);
        return true;
      } catch {
        return false;
      }
    },
  };
}
