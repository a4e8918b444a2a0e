/** The client decides as `clients/conformance/` says. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

import { Gateway, shouldReconnect } from "../src/gateway.js";
import { FakeClock, fakeWebSocket, settled } from "./stage.js";

const FOLDER = new URL("../../conformance/", import.meta.url);
const ROLE = "browser";

/** A client, and all that happens to it. */
class Play {
  clock = new FakeClock();
  WebSocket = fakeWebSocket();
  heard = [];
  loads = [];
  tokens = 0;

  constructor({ position, tokens, load, ...unknown } = {}) {
    assert.deepEqual(unknown, {}, "options that this runner does not know");
    const options = {
      position,
      WebSocket: this.WebSocket,
      getToken: () => tokens?.[Math.min(this.tokens++, tokens.length - 1)] ?? `token-${++this.tokens}`,
    };
    if (load) {
      options.load = () => new Promise((resolve, reject) => this.loads.push({ resolve, reject }));
      options.apply = (data) => this.heard.push(["apply", data]);
    }
    this.gateway = new Gateway("ws://gateway.test/", options, this.clock);
    for (const name of ["message", "reset", "missed"])
      this.gateway.on(name, (detail) => this.heard.push([name, detail]));
    this.gateway.on("error", () => {});
  }

  socket(number) {
    return this.WebSocket.made.at(number === undefined ? -1 : number - 1);
  }
}

const DO = {
  welcome: (play, members, { on }) => play.socket(on).welcome(members),
  text: (play, text, { on }) => play.socket(on).text(text),
  close: (play, code, { on }) => play.socket(on).break(code),
  advance: (play, seconds) => play.clock.advance(seconds * 1000),
  chance: (play, chance) => (play.clock.chanceGiven = chance),
  server(play, frame, { on, from = 0, to = from }) {
    const text = JSON.stringify(frame);
    for (let n = from; n <= to; n++) play.socket(on).text(text.replaceAll("{n}", String(n)));
  },
  reply(play, members, { on }) {
    const { ref } = play.socket(on).sent.findLast((frame) => frame.ref !== undefined);
    play.socket(on).say({ type: "reply", ref, ...members });
  },
  call(play, name, { with: given }) {
    assert.equal(name, "send");
    play.gateway.send(given.event, given.data).catch(() => {});
  },
  loaded(play, state) {
    const load = play.loads.at(-1);
    if (state) load.resolve(state);
    else load.reject(new Error("on purpose"));
  },

  sockets: (play, count) => assert.equal(play.WebSocket.made.length, count),
  protocols: (play, protocols) => assert.deepEqual(play.socket().protocols, protocols),
  status: (play, status) => includes(play.gateway.status, status),
  position: (play, position) => assert.deepEqual(play.gateway.position, position),
  loads: (play, count) => assert.equal(play.loads.length, count),
  tokens: (play, count) => assert.equal(play.tokens, count),
  query(play, query) {
    for (const [name, value] of Object.entries(query)) assert.equal(play.socket().url.searchParams.get(name), value);
  },
  same_query(play, names) {
    for (const name of names)
      assert.equal(play.socket().url.searchParams.get(name), play.socket(1).url.searchParams.get(name));
  },
  sent(play, frames, { on }) {
    const sent = play.socket(on).news();
    assert.equal(sent.length, frames.length, JSON.stringify(sent));
    frames.forEach((frame, index) => includes(sent[index], frame));
  },
  heard(play, expected) {
    const heard = play.heard.splice(0);
    assert.deepEqual(heard.map(([name]) => name), expected.map(([name]) => name));
    expected.forEach(([, detail], index) => includes(heard[index][1], detail));
  },
  pause(play, bounds) {
    within((play.gateway.status.retryAt - play.clock.date()) / 1000, bounds);
  },
};
const BESIDE = ["on", "from", "to", "with"];

async function steps({ options, steps }) {
  const play = new Play(options);
  await settled();
  for (const [index, step] of steps.entries()) {
    const [name] = Object.keys(step).filter((key) => !BESIDE.includes(key));
    assert.ok(DO[name], `a step that this runner does not know: ${name}`);
    try {
      await DO[name](play, step[name], step);
    } catch (error) {
      error.message = `step ${index}, ${JSON.stringify(step)}: ${error.message}`;
      throw error;
    }
    await settled();
  }
  play.gateway.close();
  assert.equal(play.clock.waiting, 0, "timers that are left after close()");
}

const RUN = {
  session: steps,
  close_code: ({ code, returns }) => assert.equal(shouldReconnect(code), returns),
  async back_off({ losses, least, most }) {
    for (const chance of [0, 0.5, 1]) {
      const play = new Play();
      play.clock.chanceGiven = chance;
      await settled();
      for (let loss = 1; loss < losses; loss++) {
        play.socket().break(1006);
        play.gateway.connect();
        await settled();
      }
      play.socket().break(1006);
      DO.pause(play, { least, most });
      play.gateway.close();
    }
  },
  async size({ client_frame: { limit, text, times }, fits }) {
    const play = new Play();
    await settled();
    const send = (data) => play.gateway.send("x", data).then(() => "sent", (error) => error.code);
    play.socket().welcome();
    send("");
    const empty = new TextEncoder().encode(JSON.stringify(play.socket().sent[0])).length;
    play.socket().welcome({ limits: { frame: empty + limit, message: 65_536 } });
    const outcome = await Promise.race([send(text.repeat(times)), settled()]);
    assert.equal(outcome, fits ? undefined : "too_large");
    assert.equal(play.socket().sent.length, fits ? 2 : 1);
    play.gateway.close();
  },
  async refresh({ expires_in: expiresIn, planned }) {
    for (const chance of [0, 0.5, 1]) {
      const play = new Play();
      play.clock.chanceGiven = chance;
      await settled();
      play.socket().welcome({ heartbeat: 0, expires_in: expiresIn ?? undefined });
      const began = play.clock.now;
      const { least, most } = planned ?? { least: 1e6, most: 1e6 };
      await play.clock.advance(least * 1000 - 1);
      assert.equal(play.tokens, 1);
      await play.clock.advance(began + most * 1000 - play.clock.now);
      assert.equal(play.tokens > 1, planned !== null); // without an answer it asks again
      play.gateway.close();
    }
  },
};

const files = readdirSync(FOLDER).filter((name) => name.endsWith(".json") && name !== "schema.json");
for (const name of files) {
  const file = JSON.parse(readFileSync(new URL(name, FOLDER), "utf8"));
  for (const vector of file.vectors)
    if ((vector.roles ?? file.roles).includes(ROLE))
      test(`${name}: ${vector.name}`, () => RUN[file.kind](vector));
}

/** Whether `found` has all that `expected` names; null: not there. */
function includes(found, expected) {
  if (typeof expected !== "object" || expected === null) return assert.deepEqual(found ?? null, expected);
  for (const [key, value] of Object.entries(expected)) includes(found?.[key], value);
}

function within(value, { least, most }) {
  assert.ok(least <= value && value <= most, `${value} is not from ${least} to ${most}`);
}
