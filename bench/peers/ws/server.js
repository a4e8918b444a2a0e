// What this gateway replaces: a small service of `ws` and `ioredis`. Its clients are in memory,
// each user is one Redis channel, and backends PUBLISH to it what is sent on word for word.
"use strict";
const { WebSocketServer, WebSocket } = require("ws");
const { Redis } = require("ioredis");

const PING_EVERY = 20_000;
const EVERYBODY = "broadcast";

const publisher = new Redis(process.env.REDIS_URL);
const subscriber = new Redis(process.env.REDIS_URL);
const users = new Map(); // channel -> its sockets
const server = new WebSocketServer({ host: "127.0.0.1", port: Number(process.env.PORT) });

function enter(socket, channel) {
  const sockets = users.get(channel);
  if (sockets) {
    sockets.add(socket);
    return undefined;
  }
  users.set(channel, new Set([socket]));
  return subscriber.subscribe(channel);
}

function leave(socket, channel) {
  const sockets = users.get(channel);
  if (!sockets?.delete(socket) || sockets.size) return;
  users.delete(channel);
  subscriber.unsubscribe(channel);
}

async function answer(socket, user, text) {
  const { type, event, data, ref } = JSON.parse(text);
  if (type !== "send") return;
  await publisher.publish("inbound", JSON.stringify({ user, event, data }));
  socket.send(JSON.stringify({ type: "reply", ok: true, ref }));
}

server.on("connection", async (socket, request) => {
  const user = new URL(request.url, "ws://localhost").searchParams.get("user_id");
  const channel = `user:${user}`;
  socket.isAlive = true;
  socket.on("pong", () => (socket.isAlive = true));
  socket.on("message", (text) => answer(socket, user, text));
  socket.on("close", () => leave(socket, channel));
  await enter(socket, channel);
  socket.send(JSON.stringify({ type: "welcome", user }));
});

subscriber.on("message", (channel, text) => {
  const sockets = channel === EVERYBODY ? server.clients : users.get(channel) ?? [];
  for (const socket of sockets) if (socket.readyState === WebSocket.OPEN) socket.send(text);
});
subscriber.subscribe(EVERYBODY);

setInterval(() => {
  for (const socket of server.clients) {
    if (!socket.isAlive) socket.terminate();
    socket.isAlive = false;
    socket.ping();
  }
}, PING_EVERY);
