// socket.io on its Redis adapter, as its documentation sets it up: each user is a room.
"use strict";
const { createServer } = require("node:http");
const { Server } = require("socket.io");
const { createAdapter } = require("@socket.io/redis-adapter");
const { Redis } = require("ioredis");

const publisher = new Redis(process.env.REDIS_URL);
const adapter = createAdapter(publisher, publisher.duplicate());
const http = createServer();
const io = new Server(http, { adapter, transports: ["websocket"] });

io.on("connection", async (socket) => {
  const user = socket.handshake.query.user_id;
  await socket.join(user);
  socket.on("send", async ({ event, data, ref }, answer) => {
    await publisher.publish("inbound", JSON.stringify({ user, event, data }));
    answer({ ok: true, ref });
  });
  socket.emit("welcome", { user });
});

http.listen(Number(process.env.PORT), "127.0.0.1");
