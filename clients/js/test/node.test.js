/** Without a browser: Node with the package `ws`, threads, and programs that only import. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { Worker } from "node:worker_threads";

import WebSocket, { WebSocketServer } from "ws";
import { Gateway } from "../src/gateway.js";

const run = promisify(execFile); // not the one that waits: the server is in this process
const MAIN = new URL("../src/gateway.js", import.meta.url).href;
let server, url;

before(async () => {
  server = new WebSocketServer({ port: 0, host: "127.0.0.1", handleProtocols: () => "gateway.v1" });
  await once(server, "listening");
  url = `ws://127.0.0.1:${server.address().port}/`;
  server.on("connection", (socket, { headers }) => {
    const welcome = { type: "welcome", user: headers["sec-websocket-protocol"], epoch: "e1", offset: 0, recovered: null, heartbeat: 25 };
    socket.send(JSON.stringify(welcome));
    socket.send(JSON.stringify({ type: "message", id: "a", event: "x", data: 7, time: 0, offset: 1 }));
    socket.on("message", (text) => {
      const { ref } = JSON.parse(text);
      if (ref) socket.send(JSON.stringify({ type: "reply", ref, ok: true }));
    });
  });
});
after(() => {
  for (const socket of server.clients) socket.terminate();
  server.close();
});

test("with ws it connects, hears, sends and leaves", async () => {
  const gateway = new Gateway(url, { WebSocket, getToken: () => "t1" });
  const welcomed = new Promise((resolve) => gateway.on("welcome", resolve));
  const heard = new Promise((resolve) => gateway.on("x", resolve));
  assert.equal((await welcomed).user, "gateway.v1,gateway.bearer.t1");
  assert.equal(await heard, 7);
  assert.equal((await gateway.send("y")).ok, true);
  gateway.close();
  assert.equal(gateway.status.state, "closed");
});

test("nobody there is a lost line", async () => {
  const gateway = new Gateway("ws://127.0.0.1:1/", { WebSocket });
  const status = await new Promise((resolve) => gateway.on("status", (one) => one.state === "offline" && resolve(one)));
  assert.equal(status.code, 1006);
  gateway.close();
});

test("after close() a program ends by itself, whatever was under way", async () => {
  const program = `
    import WebSocket from "ws";
    import { Gateway } from ${JSON.stringify(MAIN)};
    for (const [url, when] of [[${JSON.stringify(url)}, "online"], ["ws://127.0.0.1:1/", "offline"]]) {
      const gateway = new Gateway(url, { WebSocket, load: () => new Promise(() => {}), apply() {} });
      gateway.on("status", ({ state }) => state === when && gateway.close());
    }
    new Gateway(${JSON.stringify(url)}, { WebSocket }).close();
  `;
  const cwd = new URL("..", import.meta.url);
  await run(process.execPath, ["--input-type=module", "-e", program], { cwd, timeout: 60_000 });
});

test("an import does nothing", async () => {
  const program = `
    const before = Object.getOwnPropertyNames(globalThis);
    for (const name of ["setTimeout", "setInterval", "fetch", "addEventListener"])
      globalThis[name] = () => { throw new Error(name); };
    await import(${JSON.stringify(MAIN)});
    await import(${JSON.stringify(MAIN.replace("gateway.js", "queue.js"))});
    const more = Object.getOwnPropertyNames(globalThis).filter((name) => !before.includes(name) && name !== "addEventListener");
    if (more.length || process.getActiveResourcesInfo().includes("Timeout")) throw new Error(String(more));
  `;
  await run(process.execPath, ["--input-type=module", "-e", program], { timeout: 60_000 });
});

test("in a thread of its own", async () => {
  const program = `
    const { parentPort } = require("node:worker_threads");
    import(${JSON.stringify(MAIN)}).then(({ Gateway }) => {
      const gateway = new Gateway(${JSON.stringify(url)}, { WebSocket: require("ws") });
      gateway.on("x", (data) => { gateway.close(); parentPort.postMessage(data); });
    });
  `;
  const worker = new Worker(program, { eval: true });
  const ended = once(worker, "exit");
  assert.deepEqual(await once(worker, "message"), [7]);
  await ended;
});
