// Publishes with socket.io's own emitter, as a backend does: a line of JSON, a publication.
"use strict";
const { createInterface } = require("node:readline");
const { Emitter } = require("@socket.io/redis-emitter");
const { Redis } = require("ioredis");

const emitter = new Emitter(new Redis(process.env.REDIS_URL));

createInterface({ input: process.stdin }).on("line", (line) => {
  const { kind, user, data } = JSON.parse(line);
  (kind === "broadcast" ? emitter : emitter.to(user)).emit("message", data);
  process.stdout.write("done\n");
});
