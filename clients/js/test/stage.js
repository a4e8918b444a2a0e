/** What a client is played on: a clock that only the test moves, sockets that only it answers. */

/** Time and chance that stand still until they are told. */
export class FakeClock {
  now = 1_000_000;
  chanceGiven = 0.5;
  #timers = new Map();
  #count = 0;

  ticks = () => this.now;
  date = () => 1_700_000_000_000 + this.now + this.step;
  chance = () => this.chanceGiven;
  step = 0; // ms that the wall clock has gone on while the machine slept

  after = (work, ms) => {
    const due = this.now + (ms > 2_147_483_647 ? 1 : Math.max(0, ms)); // as timers overflow
    this.#timers.set(++this.#count, { due, work });
    return this.#count;
  };

  cancel = (timer) => this.#timers.delete(timer);

  get waiting() {
    return this.#timers.size;
  }

  /** Let so many ms pass; what is due on the way happens in its order. */
  async advance(ms) {
    const end = this.now + ms;
    for (;;) {
      const [next, timer] = [...this.#timers].sort(([a, one], [b, other]) => one.due - other.due || a - b)[0] ?? [];
      if (!timer || timer.due > end) break;
      this.#timers.delete(next);
      this.now = Math.max(this.now, timer.due);
      timer.work();
      await settled();
    }
    this.now = end;
  }
}

/** Everything runs that needs no time. */
export const settled = () => new Promise((resolve) => setImmediate(resolve));

const LIMITS = { frame: 65_536, message: 65_536 };
const WELCOME = { session: "s1", user: "42", client: "c", node: "n1", epoch: "e1", offset: 0, recovered: null };

/** A class like WebSocket; `made` are its sockets. */
export function fakeWebSocket() {
  return class FakeWebSocket {
    static made = [];
    readyState = 0;
    sent = [];
    unread = 0;

    constructor(url, protocols) {
      this.url = new URL(url);
      this.protocols = protocols;
      FakeWebSocket.made.push(this);
    }

    send(text) {
      this.sent.push(JSON.parse(text));
    }

    close(code) {
      this.closedWith = code;
      this.readyState = 3;
    }

    // --- the server's end

    open() {
      this.readyState = 1;
      this.onopen?.();
    }

    welcome(members = {}) {
      this.open();
      this.say({ type: "welcome", ...WELCOME, heartbeat: 25, limits: LIMITS, ...members });
    }

    say(frame) {
      this.text(JSON.stringify(frame));
    }

    text(data) {
      this.onmessage?.({ data });
    }

    break(code, reason = "") {
      this.readyState = 3;
      this.onclose?.({ code, reason });
    }

    /** What was sent since the last time. */
    news() {
      const news = this.sent.slice(this.unread);
      this.unread = this.sent.length;
      return news;
    }
  };
}
