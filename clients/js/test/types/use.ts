/** What the types allow, and what they refuse: each refusal is expected, and would be missed. */
import { Gateway, GatewayError, type Message, type Position } from "django-gateway-client";
import { Queue } from "django-gateway-client/queue";
import { useEvent, useGateway, useStatus } from "django-gateway-client/react";

type Events = { "order.paid": { order: number }; "status": { text: string } };
type State = { orders: number[] };

const gateway = new Gateway<Events, State>("wss://gateway.test/", {
  getToken: async () => "token",
  position: { epoch: "e", offset: 7 },
  load: async () => ({ position: { epoch: "e", offset: 7 }, data: { orders: [1] } }),
  apply: ({ orders }) => orders.map((order) => order + 1),
  ack: "manual",
  whenHidden: "wait",
});

gateway.on("order.paid", ({ order }, { id, offset }) => [order + 1, id.length, offset]);
gateway.on("event:status", ({ text }) => text.length);
gateway.on("event:order.paid", ({ order }) => order + 1);
gateway.on("status", ({ state, retryAt }) => [state === "offline", (retryAt ?? 0) + 1]);
gateway.on("missed", ({ missed }) => missed + 1);
gateway.on("error", (error: GatewayError) => error.code);
const stop: () => void = gateway.once("reset", ({ epoch }) => epoch.length);
const reply: Promise<any> = gateway.send("x", { a: 1 }, { timeout: 5, signal: AbortSignal.timeout(5) });
const position: Position | undefined = gateway.position;
gateway.on("message", (message: Message) => gateway.ack(message));
for await (const { event } of gateway) event.length;

// @ts-expect-error an event that is not in the map
gateway.on("order.unknown", () => {});
// @ts-expect-error nor behind `event:`
gateway.on("event:missed", () => {});
// @ts-expect-error a member that its data has not
gateway.on("order.paid", ({ number }) => number);
// @ts-expect-error a member that the message has not
gateway.on("order.paid", (_, { body }) => body);
// @ts-expect-error a state that is none
gateway.on("status", ({ state }) => state === "gone");
// @ts-expect-error a member that the gateway has not
gateway.subscribe("x");
// @ts-expect-error an option that is none
new Gateway("wss://gateway.test/", { onMessage: () => {} });
// @ts-expect-error data of another form than `apply` takes
new Gateway<Events, State>("", { load: () => ({ position: { epoch: "", offset: 0 }, data: 7 }), apply: () => {} });
// @ts-expect-error it is read only
gateway.position = undefined;

const anything = new Gateway("wss://gateway.test/");
anything.on("whatever", (data, { time }) => [data.any.member, time + 1]);
// @ts-expect-error the client's own names have their form, whatever the events
anything.on("missed", ({ lost }) => lost);

const queue = new Queue(gateway, { limit: 10 });
queue.send("order.placed", { order: 7 });
// @ts-expect-error it holds the key, so it is an object
queue.send("order.placed", 7);

export function Page() {
  const live = useGateway<Events>("wss://gateway.test/", { getToken: () => "token" });
  const { state } = useStatus(live);
  useEvent(live, "order.paid", ({ order }) => order + 1);
  // @ts-expect-error an event that is not in the map
  useEvent(live, "order.unknown", () => {});
  return state;
}

export { position, reply, stop };
