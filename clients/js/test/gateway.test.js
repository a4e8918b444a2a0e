/** What the client offers, beside what the vectors say. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { Gateway, GatewayError, ulid } from "../src/gateway.js";
import { FakeClock, fakeWebSocket, settled } from "./stage.js";

/** A gateway on a stage; `heard` has what was emitted under these names. */
async function stage(options = {}, names = ["message", "reset", "missed", "status", "error"]) {
  const clock = new FakeClock();
  const WebSocket = fakeWebSocket();
  const gateway = new Gateway("ws://gateway.test/", { WebSocket, ...options }, clock);
  const heard = [];
  for (const name of names) gateway.on(name, (detail) => heard.push([name, detail]));
  await settled();
  return { clock, WebSocket, gateway, heard, socket: () => WebSocket.made.at(-1) };
}

const message = (id, offset, event = "x", data = 1) => ({ type: "message", id, event, data, time: 0, offset });
const durable = (gateway) => gateway.position?.offset;

// --- names

test("an event is heard by its name, with its data and the message", async () => {
  const { gateway, socket } = await stage();
  const heard = [];
  gateway.on("job.progress", (data, { id }) => heard.push(data, id));
  socket().welcome();
  socket().say(message("a", 1, "job.progress", { percent: 7 }));
  socket().say(message("b", 2, "job.done"));
  assert.deepEqual(heard, [{ percent: 7 }, "a"]);
});

test("an event with a name of the client's own is never taken for it", async () => {
  const { gateway, socket, heard } = await stage({}, ["status", "reset", "error"]);
  const events = [];
  for (const name of ["event:status", "event:reset", "event:error", "event:event:x", "event:toString"])
    gateway.on(name, (data) => events.push([name, data]));
  gateway.on("toString", () => events.push("plain"));
  socket().welcome();
  heard.length = 0;
  for (const [index, name] of ["status", "reset", "error", "event:x", "toString"].entries())
    socket().say(message(name, index + 1, name, index));
  assert.deepEqual(heard, []);
  assert.deepEqual(events, [
    ["event:status", 0], ["event:reset", 1], ["event:error", 2], ["event:event:x", 3], ["event:toString", 4], "plain",
  ]);
});

test("once, off, and what on returns", async () => {
  const { gateway, socket } = await stage();
  const heard = [];
  const hear = (name) => () => heard.push(name);
  const off = hear("off");
  gateway.once("x", hear("once"));
  const stop = gateway.on("x", hear("on"));
  gateway.on("x", off);
  const never = hear("never");
  gateway.once("x", never);
  gateway.off("x", never);
  socket().welcome();
  socket().say(message("a"));
  stop();
  gateway.off("x", off);
  socket().say(message("b"));
  assert.deepEqual(heard, ["once", "on", "off"]);
});

test("what a handler throws is reported, and stops nothing", async (t) => {
  const reported = t.mock.method(console, "error", () => {});
  const { gateway, socket } = await stage();
  gateway.on("x", () => { throw new Error("on purpose"); });
  const heard = [];
  gateway.on("x", (data) => heard.push(data));
  socket().welcome();
  socket().say(message("a", 1));
  assert.deepEqual(heard, [1]);
  assert.equal(durable(gateway), 1);
  assert.equal(reported.mock.callCount(), 1);
});

// --- reading one by one

test("messages one by one, until it is closed", async () => {
  const { gateway, socket } = await stage();
  socket().welcome();
  const ids = [];
  const reading = (async () => {
    for await (const { id } of gateway) if (ids.push(id) === 2) gateway.close();
  })();
  await settled();
  for (const id of ["a", "b", "c"]) socket().say(message(id));
  await reading;
  assert.deepEqual(ids, ["a", "b", "c"]);
});

test("who leaves the loop is not listened for any more", async () => {
  const { gateway, socket } = await stage();
  socket().welcome();
  const loop = (async () => { for await (const { id } of gateway) return id; })();
  await settled();
  socket().say(message("a"));
  assert.equal(await loop, "a");
  for (let n = 0; n < 2_000; n++) socket().say(message(`m${n}`));
});

test("who reads too slowly is told, and nothing is dropped in silence", async () => {
  const { gateway, socket } = await stage();
  socket().welcome();
  const messages = gateway[Symbol.asyncIterator]();
  const first = messages.next();
  await settled();
  for (let n = 0; n < 1_002; n++) socket().say(message(`m${n}`));
  assert.equal((await first).value.id, "m0");
  for (let n = 1; n < 1_000; n++) assert.equal((await messages.next()).value.id, `m${n}`);
  await assert.rejects(messages.next(), { code: "too_slow" });
});

// --- sending

const sent = (promise) => promise.then(() => "ok", (error) => (error.name === "GatewayError" ? error.code : error.name));

test("a reply resolves, a refusal rejects with its code", async () => {
  const { gateway, socket } = await stage();
  assert.equal(await sent(gateway.send("x")), "offline");
  socket().welcome();
  const answers = Promise.all([sent(gateway.send("x", { a: 1 })), sent(gateway.send("y"))]);
  const [one, two] = socket().news();
  assert.deepEqual([one.data, two.data], [{ a: 1 }, null]);
  socket().say({ type: "reply", ref: two.ref, ok: false, error: { code: "rate_limited", message: "" } });
  socket().say({ type: "reply", ref: one.ref, ok: true });
  assert.deepEqual(await answers, ["ok", "rate_limited"]);
});

for (const [name, event, data] of [
  ["an empty event", "", 1],
  ["a long event", "é".repeat(256), 1],
  ["an event that is no text", 7, 1],
  ["a function", "x", () => {}],
  ["a symbol", "x", Symbol("x")],
  ["a bigint", "x", { deep: 7n }],
])
  test(`not well-formed, it does not leave: ${name}`, async () => {
    const { gateway, socket } = await stage();
    socket().welcome();
    assert.equal(await sent(gateway.send(event, data)), "bad_message");
    const circle = {};
    circle.circle = circle;
    assert.equal(await sent(gateway.send("x", circle)), "bad_message");
    assert.deepEqual(socket().sent, []);
  });

test("an event of 255 characters is one, whatever they are", async () => {
  const { gateway, socket } = await stage();
  socket().welcome();
  gateway.send("🎉".repeat(255));
  assert.equal(socket().sent.length, 1);
});

test("a time-out of its own", async () => {
  const { gateway, socket, clock } = await stage();
  socket().welcome({ heartbeat: 0 });
  const answers = [];
  for (const timeout of [50, undefined, Infinity])
    sent(gateway.send("x", 1, { timeout })).then((answer) => answers.push([timeout, answer]));
  await clock.advance(49);
  assert.deepEqual(answers, []);
  await clock.advance(1);
  await clock.advance(10_000);
  assert.deepEqual(answers, [[50, "timeout"], [undefined, "timeout"]]);
  socket().break(1006);
  await settled();
  assert.deepEqual(answers.at(-1), [Infinity, "disconnected"]);
});

test("an AbortSignal, before and after", async () => {
  const { gateway, socket, clock } = await stage();
  socket().welcome({ heartbeat: 0 });
  assert.equal(await sent(gateway.send("x", 1, { signal: AbortSignal.abort() })), "AbortError");
  assert.deepEqual(socket().sent, []);
  const controller = new AbortController();
  const answer = sent(gateway.send("x", 1, { signal: controller.signal }));
  controller.abort();
  assert.equal(await answer, "AbortError");
  assert.equal(clock.waiting, 0);
  const own = sent(gateway.send("x", 1, { signal: AbortSignal.abort(new GatewayError("mine", "")) }));
  assert.equal(await own, "mine");
});

test("its own sessions", async () => {
  const { gateway, socket } = await stage();
  socket().welcome();
  const sessions = gateway.sessions();
  const [{ ref }] = socket().news();
  socket().say({ type: "reply", ref, ok: true, sessions: [{ session: "s1" }] });
  assert.deepEqual(await sessions, [{ session: "s1" }]);
});

// --- processed by hand

test("with ack by hand a message is processed when it is said so", async () => {
  const { gateway, socket, clock } = await stage({ ack: "manual" });
  const messages = [];
  gateway.on("message", (one) => messages.push(one));
  socket().welcome({ offset: 5, heartbeat: 0 });
  socket().say({ type: "position", offset: 6 });
  assert.equal(durable(gateway), 6, "nothing waits");
  socket().say(message("a", 7));
  socket().say(message("b", 8));
  socket().say({ type: "position", offset: 9 });
  socket().say(message("e"));
  await clock.advance(2_000);
  assert.equal(durable(gateway), 6);
  gateway.ack(messages[2]); // ephemeral
  gateway.ack(messages[1]);
  gateway.ack(messages[0]);
  gateway.ack({ offset: 700 });
  assert.equal(durable(gateway), 9);
  await clock.advance(1_000);
  assert.deepEqual(socket().sent.map(({ type, offset }) => [type, offset]), [["ack", 6], ["ack", 9]]);
});

test("what waits to be processed does not come twice", async () => {
  const { gateway, socket, clock } = await stage({ ack: "manual" });
  socket().welcome({ offset: 5 });
  socket().say(message("a", 6));
  socket().break(1006);
  await clock.advance(500);
  assert.equal(socket().url.searchParams.get("offset"), "6");
  assert.equal(durable(gateway), 5);
});

// --- state and stream

const loader = (extra = {}) => {
  const loads = [];
  const applied = [];
  return {
    loads,
    applied,
    load: () => new Promise((resolve, reject) => loads.push({ resolve, reject })),
    apply: (data) => applied.push(data),
    ...extra,
  };
};
const at = (offset, epoch = "e1") => ({ position: { epoch, offset }, data: offset });

test("load without apply is no choice", () => {
  const options = { load: () => {}, connect: false };
  assert.throws(() => new Gateway("ws://gateway.test/", options), TypeError);
});

test("a state that came before the first welcome, and is newer", async () => {
  const { load, apply, loads, applied } = loader();
  const { gateway, socket, heard } = await stage({ load, apply }, ["message", "reset"]);
  loads[0].resolve(at(8));
  await settled();
  assert.deepEqual(applied, [8]);
  socket().welcome({ offset: 7 });
  socket().say(message("a", 8));
  socket().say(message("b", 9));
  assert.deepEqual(heard.map(([, { id }]) => id), ["b"]);
  assert.equal(durable(gateway), 9);
});

test("a state that came before the first welcome, and is older", async () => {
  const { load, apply, loads } = loader();
  const { gateway, socket, WebSocket } = await stage({ load, apply });
  loads[0].resolve(at(3));
  await settled();
  socket().welcome({ offset: 7 });
  await settled();
  assert.equal(WebSocket.made.length, 2);
  assert.equal(socket().url.searchParams.get("offset"), "3");
  socket().welcome({ offset: 3, recovered: true });
  socket().say(message("a", 4));
  assert.equal(durable(gateway), 4);
  assert.equal(loads.length, 1);
});

test("a state of another stream that came before the first welcome is loaded again", async () => {
  const { load, apply, loads, applied } = loader();
  const { socket, heard } = await stage({ load, apply }, ["reset"]);
  loads[0].resolve(at(3, "e0"));
  await settled();
  socket().welcome({ offset: 7 });
  assert.deepEqual(heard, [["reset", { epoch: "e1", offset: 7 }]]);
  assert.equal(loads.length, 2);
  loads[1].resolve(at(7));
  await settled();
  assert.deepEqual(applied, [3, 7]);
});

test("a reset while a load runs makes it void", async () => {
  const { load, apply, loads, applied } = loader();
  const { gateway, socket } = await stage({ load, apply });
  socket().welcome({ offset: 5 });
  socket().say({ type: "reset", epoch: "e2", offset: 1 });
  assert.equal(loads.length, 2);
  loads[0].resolve(at(5));
  await settled();
  assert.deepEqual(applied, []);
  loads[1].resolve(at(1, "e2"));
  await settled();
  assert.deepEqual(applied, [1]);
  assert.deepEqual(gateway.position, { epoch: "e2", offset: 1 });
});

test("apply may take its time, and nothing passes it", async () => {
  let applied;
  const { load, loads } = loader();
  const { gateway, socket, heard, clock } = await stage(
    { load, apply: () => new Promise((resolve) => (applied = resolve)) }, ["message"]);
  socket().welcome({ offset: 5 });
  loads[0].resolve(at(5));
  await settled();
  socket().say(message("a", 6));
  await clock.advance(2_000);
  assert.deepEqual([heard, gateway.position, socket().sent], [[], undefined, []]);
  applied();
  await settled();
  assert.deepEqual([heard.length, durable(gateway)], [1, 6]);
});

test("what load or apply throws is told, and tried again", async () => {
  const { load, loads, applied } = loader();
  let broken = true;
  const apply = (data) => { if (broken) throw new Error("no space"); applied.push(data); };
  const { socket, heard, clock } = await stage({ load, apply }, ["error"]);
  socket().welcome({ offset: 5, heartbeat: 0 });
  loads[0].reject(new Error("503"));
  await settled();
  await clock.advance(500);
  loads[1].resolve(at(5));
  await settled();
  broken = false;
  await clock.advance(1_000);
  loads[2].resolve({ data: 7 });
  await settled();
  await clock.advance(2_000);
  loads[3].resolve(at(5));
  await settled();
  assert.deepEqual(heard.map(([, { code, cause }]) => [code, cause.name]), [
    ["load_failed", "Error"], ["load_failed", "Error"], ["load_failed", "TypeError"],
  ]);
  assert.deepEqual(applied, [5]);
});

test("a load that is always too old is not asked for without an end", async () => {
  let loads = 0;
  const options = { load: async () => (loads++, at(1)), apply: () => {} };
  const { socket, clock, WebSocket } = await stage(options);
  for (let n = 0; n < 20; n++) {
    socket().welcome({ offset: 50, recovered: n ? false : null });
    await clock.advance(100);
  }
  assert.ok(loads <= 8 && WebSocket.made.length <= 8, `${loads} loads in 2 s`);
});

test("a close in the middle of what was held loses nothing", async () => {
  const { load, apply, loads } = loader();
  const { gateway, socket, clock } = await stage({ load, apply });
  const heard = [];
  gateway.on("message", ({ id }) => { heard.push(id); if (id === "a") gateway.close(); });
  socket().welcome({ offset: 5 });
  for (const [id, offset] of [["a", 6], ["b", 7]]) socket().say(message(id, offset));
  loads[0].resolve(at(5));
  await settled();
  assert.deepEqual(heard, ["a"]);
  assert.equal(clock.waiting, 0);
  gateway.connect();
  await settled();
  assert.equal(socket().url.searchParams.get("offset"), "6");
  socket().welcome({ offset: 6, recovered: true });
  socket().say(message("b", 7));
  assert.deepEqual(heard, ["a", "b"]);
});

test("messages that are held are at most a megabyte", async () => {
  const { load, apply, loads, applied } = loader();
  const { socket, heard, clock } = await stage({ load, apply }, ["missed"]);
  socket().welcome({ offset: 5, heartbeat: 0 });
  for (let n = 0; n < 11; n++) socket().say(message(`m${n}`, undefined, "x", "y".repeat(100_000)));
  assert.deepEqual(heard, [["missed", { missed: 11 }]]);
  loads[0].resolve(at(5));
  await clock.advance(500);
  assert.deepEqual([loads.length, applied], [2, []]);
});

test("a close while it loads, and a return: it loads", async () => {
  const { load, apply, loads, applied } = loader();
  const { gateway, socket, clock } = await stage({ load, apply });
  socket().welcome({ offset: 5 });
  gateway.close();
  assert.equal(clock.waiting, 0);
  loads[0].resolve(at(5));
  await settled();
  assert.deepEqual(applied, []);
  gateway.connect();
  assert.equal(loads.length, 2);
});

// --- one connection after the other

test("the id of an ephemeral message is known for the next 512", async () => {
  const { socket, heard } = await stage({}, ["message"]);
  socket().welcome();
  socket().say(message("a"));
  for (let n = 0; n < 511; n++) socket().say(message(`m${n}`));
  socket().say(message("a"));
  assert.equal(heard.length, 512);
  socket().say(message("one more"));
  socket().say(message("a"));
  assert.equal(heard.length, 514);
});

test("one that was replaced and does not end is left after ten seconds", async () => {
  const { socket, clock, WebSocket, heard } = await stage({}, ["message"]);
  const [old] = WebSocket.made;
  old.welcome({ heartbeat: 0 });
  old.say({ type: "closing", code: 4000, reconnect_after: 0 });
  await clock.advance(0);
  socket().welcome({ heartbeat: 0, recovered: true });
  assert.equal(old.closedWith, undefined);
  old.say({ type: "ping" });
  assert.deepEqual(old.news(), [{ type: "pong" }]);
  await clock.advance(10_000);
  assert.equal(old.closedWith, 1000);
  assert.equal(WebSocket.made.length, 2);
  assert.deepEqual(heard, []);
});

test("a reset of one that was replaced is none, and what it brings then has a gap", async () => {
  const { gateway, socket, clock, WebSocket, heard } = await stage({}, ["message", "reset"]);
  const [old] = WebSocket.made;
  old.welcome({ offset: 5 });
  old.say({ type: "closing", code: 4000, reconnect_after: 0 });
  await clock.advance(0);
  socket().welcome({ offset: 5, recovered: true });
  old.say({ type: "reset", epoch: "e1", offset: 8 });
  old.say(message("d", 9));
  assert.deepEqual([heard, durable(gateway)], [[], 5]);
});

test("a verdict before the next one was heard of is one", async () => {
  let give;
  const getToken = () => new Promise((resolve) => (give = resolve));
  const { gateway, socket, clock, WebSocket } = await stage({ getToken });
  give("t1");
  await settled();
  socket().welcome();
  socket().say({ type: "closing", code: 4000, reconnect_after: 0 });
  await clock.advance(0); // asks for a token
  WebSocket.made[0].break(4507);
  assert.equal(gateway.status.state, "closed");
  give("t2");
  await settled();
  assert.equal(WebSocket.made.length, 1);
});

test("the next connection is tried again while the old one lives", async () => {
  const { gateway, socket, clock, WebSocket } = await stage();
  const [old] = WebSocket.made;
  old.welcome({ heartbeat: 0 });
  old.say({ type: "closing", code: 4000, reconnect_after: 0 });
  await clock.advance(0);
  socket().break(1006); // the node that drains had still a place in the balancer
  await clock.advance(1_000);
  assert.equal(WebSocket.made.length, 3);
  assert.equal(gateway.status.state, "online");
  socket().break(4501); // no other one would be let in either
  await clock.advance(60_000);
  assert.equal(WebSocket.made.length, 3);
  assert.equal(gateway.status.state, "online", "the old one's verdict is waited for");
  old.break(4501);
  assert.equal(gateway.status.state, "closed");
});

test("requests of the old connection are answered on it", async () => {
  const { gateway, socket, clock, WebSocket } = await stage();
  const [old] = WebSocket.made;
  old.welcome();
  const one = sent(gateway.send("x"));
  const two = sent(gateway.send("y"));
  old.say({ type: "closing", code: 4000, reconnect_after: 0 });
  await clock.advance(0);
  socket().welcome({ recovered: true });
  old.say({ type: "reply", ref: old.sent[0].ref, ok: true });
  old.break(4000);
  assert.deepEqual([await one, await two], ["ok", "disconnected"]);
});

test("close() leaves nothing, whatever is under way", async () => {
  const { gateway, socket, clock, WebSocket } = await stage();
  const [old] = WebSocket.made;
  old.welcome({ expires_in: 60 });
  old.say(message("a", 1));
  old.say({ type: "closing", code: 4000, reconnect_after: 0 });
  const answer = sent(gateway.send("x"));
  await clock.advance(0);
  socket().welcome({ recovered: true, expires_in: 60 });
  old.say({ type: "ping" });
  gateway.close();
  assert.equal(await answer, "disconnected");
  assert.deepEqual([old.closedWith, socket().closedWith, clock.waiting], [1000, 1000, 0]);
  await clock.advance(120_000);
  assert.equal(WebSocket.made.length, 2);
});

test("not connected until it is asked to be", async () => {
  const { gateway, WebSocket, clock } = await stage({ connect: false });
  assert.deepEqual([gateway.status.state, WebSocket.made.length, clock.waiting], ["closed", 0, 0]);
  gateway.connect();
  await settled();
  assert.equal(WebSocket.made.length, 1);
});

test("where there is no WebSocket it says what to give", async () => {
  const gateway = new Gateway("ws://gateway.test/", { WebSocket: null, storage: {} });
  await settled();
  if (globalThis.WebSocket) return gateway.close();
  assert.deepEqual([gateway.status.code, gateway.status.state], [4500, "closed"]);
  assert.match(gateway.status.reason, /option WebSocket/);
});

// --- tokens

test("no token is in what goes wrong", async () => {
  class Broken {
    constructor(url, protocols) { throw new SyntaxError(`bad ${protocols}`); }
  }
  const { gateway, heard } = await stage({ WebSocket: Broken, getToken: () => "se cret" });
  assert.equal(gateway.status.code, 4501);
  assert.doesNotMatch(JSON.stringify([gateway.status, heard]), /cret/);
});

test("a machine that slept asks for the next token when it wakes", async () => {
  let tokens = 0;
  const listeners = {};
  globalThis.addEventListener = (name, listener) => (listeners[name] = listener);
  globalThis.removeEventListener = (name) => delete listeners[name];
  try {
    const { gateway, socket, clock } = await stage({ getToken: () => `t${++tokens}` });
    socket().welcome({ expires_in: 3600, heartbeat: 0 });
    clock.step = 3_000_000; // the ticks stood still
    listeners.focus();
    await settled();
    const refreshes = socket().sent.filter(({ type }) => type === "refresh");
    assert.deepEqual(refreshes.map(({ token }) => token), ["t2"]);
    listeners.focus();
    await settled();
    assert.equal(tokens, 2, "one is under way");
    gateway.close();
    assert.deepEqual(listeners, {}, "listeners that are left");
  } finally {
    delete globalThis.addEventListener;
    delete globalThis.removeEventListener;
  }
});

test("a failed refresh is told, and tried at growing distances", async () => {
  let tokens = 0;
  const { socket, heard, clock, gateway } = await stage({ getToken: () => (tokens++, "same") }, ["error"]);
  socket().welcome({ expires_in: 100, heartbeat: 0 });
  const asked = [];
  for (let second = 1; second <= 300; second++) {
    const before = tokens;
    await clock.advance(1_000);
    if (tokens > before) asked.push(second);
  }
  assert.deepEqual(asked, [80, 90, 110, 150, 230]);
  assert.deepEqual(new Set(heard.map(([, { code }]) => code)), new Set(["refresh_failed"]));
  gateway.close();
});

test("a timer that is early by a part of a millisecond is no reason to look again and again", async () => {
  let tokens = 0;
  const { socket, clock, gateway } = await stage({ getToken: () => `t${++tokens}` });
  clock.chanceGiven = 0.50001; // of 60 s: after 48,000.12 ms
  const after = clock.after;
  let timers = 0;
  clock.after = (work, ms) => {
    if (++timers > 100) throw new Error("it looks for ever");
    return after(work, Math.trunc(ms)); // as browsers do
  };
  socket().welcome({ expires_in: 60, heartbeat: 0 });
  await clock.advance(48_001);
  assert.equal(tokens, 2);
  gateway.close();
});

test("a token that comes when another connection has one is not used", async () => {
  const gives = [];
  const getToken = () => new Promise((resolve) => gives.push(resolve));
  const { socket, clock, WebSocket } = await stage({ getToken });
  gives[0]("t1");
  await settled();
  socket().welcome({ expires_in: 20, heartbeat: 0 });
  await clock.advance(19_000);
  socket().break(1006);
  await clock.advance(500);
  gives[2]("t3");
  await settled();
  socket().welcome({ expires_in: 20, heartbeat: 0 });
  gives[1]("t2");
  await settled();
  assert.deepEqual(WebSocket.made[1].sent, []);
  await clock.advance(19_000);
  assert.equal(gives.length, 4, "the new one is renewed in its turn");
});

test("nor is it sent on the connection that was replaced", async () => {
  const gives = [];
  const getToken = () => new Promise((resolve) => gives.push(resolve));
  const { socket, clock, WebSocket } = await stage({ getToken });
  gives[0]("t1");
  await settled();
  const [old] = WebSocket.made;
  old.welcome({ expires_in: 20, heartbeat: 0 });
  old.say({ type: "closing", code: 4000, reconnect_after: 16.5 });
  await clock.advance(17_000); // asks for a token to refresh, and for one to connect
  gives[2]("t3");
  await settled();
  socket().welcome({ heartbeat: 0, recovered: true });
  gives[1]("t2");
  await settled();
  assert.deepEqual(old.sent, []);
});

test("a token that was renewed is no new one the next time", async () => {
  const tokens = ["t1", "t2", "t2", "t3"];
  const { gateway, socket, clock } = await stage({ getToken: () => tokens.shift() });
  const refresh = async () => {
    await clock.advance(17_000);
    const sent = socket().news().filter(({ type }) => type === "refresh");
    for (const { ref } of sent) socket().say({ type: "reply", ref, ok: true, expires_in: 20 });
    await settled();
    return sent.map(({ token }) => token);
  };
  gateway.on("error", () => {});
  socket().welcome({ expires_in: 20, heartbeat: 0 });
  assert.deepEqual(await refresh(), ["t2"]);
  assert.deepEqual(await refresh(), []);
  assert.deepEqual(await refresh(), ["t3"]);
});

// --- the page

test("a page that nobody looks at waits, where that is chosen", async () => {
  const listeners = {};
  const listen = (name, listener) => (listeners[name] = listener);
  globalThis.document = { visibilityState: "hidden", addEventListener: listen, removeEventListener: () => {} };
  try {
    for (const [whenHidden, sockets] of [["wait", 1], ["return", 2]]) {
      document.visibilityState = "hidden";
      const { gateway, socket, clock, WebSocket } = await stage({ whenHidden });
      socket().welcome({ heartbeat: 0 });
      socket().break(1012);
      assert.equal("retryAt" in gateway.status, whenHidden === "return");
      await clock.advance(1_000);
      assert.equal(WebSocket.made.length, sockets);
      if (whenHidden === "wait") {
        document.visibilityState = "visible";
        listeners.visibilitychange();
        await settled();
        assert.equal(WebSocket.made.length, 2);
      }
      gateway.close();
    }
  } finally {
    delete globalThis.document;
  }
});

test("one that waits for its turn and is looked at before returns in its turn", async () => {
  const listeners = {};
  const listen = (name, listener) => (listeners[name] = listener);
  globalThis.document = { visibilityState: "hidden", addEventListener: listen, removeEventListener: () => {} };
  try {
    const { gateway, socket, clock, WebSocket } = await stage({ whenHidden: "wait" });
    socket().welcome({ heartbeat: 0 });
    socket().say({ type: "closing", code: 4000, reconnect_after: 20 });
    socket().break(4000);
    await clock.advance(10_000);
    document.visibilityState = "visible";
    listeners.visibilitychange();
    await settled();
    assert.equal(WebSocket.made.length, 1);
    await clock.advance(10_000);
    assert.equal(WebSocket.made.length, 2);
    gateway.close();
  } finally {
    delete globalThis.document;
  }
});

test("ids are ULIDs", () => {
  assert.match(ulid(1469918176385), /^01ARYZ6S41[0-9A-HJKMNP-TV-Z]{16}$/);
});
