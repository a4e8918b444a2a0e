/** What waits while there is no connection. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { Gateway } from "../src/gateway.js";
import { Queue } from "../src/queue.js";
import { FakeClock, fakeWebSocket, settled } from "./stage.js";

async function stage(options) {
  const clock = new FakeClock();
  const WebSocket = fakeWebSocket();
  const gateway = new Gateway("ws://gateway.test/", { WebSocket }, clock);
  await settled();
  return { clock, WebSocket, gateway, queue: new Queue(gateway, options), socket: () => WebSocket.made.at(-1) };
}

const outcome = (promise) => promise.then((reply) => reply.id ?? "ok", (error) => error.code);

test("what is sent offline goes in order, one after the other, when there is a connection", async () => {
  const { queue, socket } = await stage();
  const answers = Promise.all([outcome(queue.send("a", { n: 1 })), outcome(queue.send("b", { n: 2 }))]);
  assert.equal(queue.size, 2);
  socket().welcome();
  for (const [event, n] of [["a", 1], ["b", 2]]) {
    await settled();
    const [frame, ...more] = socket().news();
    assert.deepEqual([frame.event, frame.data.n, more], [event, n, []]);
    assert.match(frame.data.idempotency_key, /^[0-9A-Z]{26}$/);
    socket().say({ type: "reply", ref: frame.ref, ok: true, id: event });
  }
  assert.deepEqual(await answers, ["a", "b"]);
  assert.equal(queue.size, 0);
});

test("what nobody knows of is sent again, as the same", async () => {
  const { queue, socket, clock } = await stage();
  socket().welcome();
  const answer = outcome(queue.send("a"));
  const [first] = socket().news();
  socket().break(1006);
  await clock.advance(500);
  socket().welcome();
  await settled();
  const [second] = socket().news();
  assert.deepEqual(second.data, first.data);
  socket().say({ type: "reply", ref: second.ref, ok: true });
  assert.equal(await answer, "ok");
});

test("a key of its own counts, and what waits with it is the same message", async () => {
  const { queue, socket } = await stage({ key: "order" });
  const one = queue.send("a", { order: 7 });
  assert.equal(queue.send("a", { order: 7, again: true }), one);
  socket().welcome();
  await settled();
  assert.deepEqual(socket().news().map(({ data }) => data), [{ order: 7 }]);
  queue.close();
  await assert.rejects(one, { code: "closed" });
});

test("an empty key holds nobody up", async () => {
  const { queue, socket } = await stage();
  socket().welcome();
  queue.send("a", { idempotency_key: "" }).catch(() => {});
  await settled();
  assert.deepEqual(socket().news().map(({ event }) => event), ["a"]);
  queue.close();
});

test("it is bounded: by number, and in time", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { queue } = await stage({ limit: 2, maxAge: 1_000 });
  const answers = Promise.all([1, 2, 3].map((n) => outcome(queue.send("a", { n }))));
  t.mock.timers.tick(1_000);
  assert.deepEqual(await answers, ["expired", "expired", "queue_full"]);
  assert.equal(queue.size, 0);
});

test("one is on its way at a time", async () => {
  const { queue, socket } = await stage();
  socket().welcome();
  queue.send("a").catch(() => {});
  queue.send("b").catch(() => {});
  await settled();
  assert.deepEqual(socket().news().map(({ event }) => event), ["a"]);
  queue.close();
});

test("a refusal for good is passed on, one for now is not", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { queue, socket } = await stage();
  socket().welcome();
  const answers = Promise.all([outcome(queue.send("a")), outcome(queue.send("b"))]);
  const refuse = async (code) => {
    const [{ ref }] = socket().news();
    socket().say({ type: "reply", ref, ok: false, error: { code, message: "" } });
    await settled();
  };
  await refuse("rate_limited");
  assert.deepEqual(socket().news(), []);
  t.mock.timers.tick(2_000);
  await refuse("bad_message");
  const [{ ref, event }] = socket().news();
  assert.equal(event, "b");
  socket().say({ type: "reply", ref, ok: true });
  assert.deepEqual(await answers, ["bad_message", "ok"]);
});

test("data is an object: it holds the key", async () => {
  const { queue } = await stage();
  for (const data of [7, "text", [1], null]) assert.equal(await outcome(queue.send("a", data)), "bad_message");
});
