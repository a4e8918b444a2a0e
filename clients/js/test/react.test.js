/** The hooks, with the real React on a page of jsdom. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { JSDOM } from "jsdom";
import { fakeWebSocket, settled } from "./stage.js";

let React, act, createRoot, renderToString, hooks;

before(async () => {
  const { window } = new JSDOM("<main></main>", { url: "https://page.test/" });
  Object.assign(globalThis, { window, document: window.document, IS_REACT_ACT_ENVIRONMENT: true });
  globalThis.navigator ??= window.navigator;
  React = await import("react");
  ({ act } = React);
  ({ createRoot } = await import("react-dom/client"));
  ({ renderToString } = await import("react-dom/server"));
  hooks = await import("../src/react.js");
});
after(() => window.close());

/** A page with these events of "x" and the status; `made` are its sockets. */
function page(options = {}) {
  const WebSocket = fakeWebSocket();
  const heard = [];
  function Page({ suffix = "" }) {
    const gateway = hooks.useGateway("ws://gateway.test/", { WebSocket, ...options });
    const { state } = hooks.useStatus(gateway);
    hooks.useEvent(gateway, "x", (data) => heard.push(data + suffix));
    return React.createElement("p", null, state);
  }
  return { Page, heard, made: WebSocket.made };
}

async function mounted(Page, props, strict = true) {
  const root = createRoot(document.querySelector("main"));
  const draw = (given) => {
    const element = React.createElement(Page, given);
    return act(async () => root.render(strict ? React.createElement(React.StrictMode, null, element) : element));
  };
  await draw(props);
  await settled();
  return { draw, end: () => act(async () => root.unmount()), text: () => document.querySelector("p").textContent };
}

const say = (socket, data) => act(async () => socket.say({ type: "message", id: data, event: "x", data, time: 0 }));
const open = (made) => made.filter(({ closedWith }) => closedWith === undefined);

test("under StrictMode there is one connection, and each message is heard once", async () => {
  const { Page, heard, made } = page();
  const { end, text } = await mounted(Page);
  assert.equal(open(made).length, 1);
  assert.equal(text(), "connecting");
  await act(async () => made.at(-1).welcome());
  assert.equal(text(), "online");
  await say(made.at(-1), "a");
  assert.deepEqual(heard, ["a"]);
  await end();
  assert.deepEqual(open(made), []);
});

test("the newest handler is called, without listening anew", async () => {
  const { Page, heard, made } = page();
  const { draw, end } = await mounted(Page, { suffix: "1" });
  await act(async () => made.at(-1).welcome());
  await draw({ suffix: "2" });
  await say(made.at(-1), "a");
  assert.deepEqual(heard, ["a2"]);
  assert.equal(open(made).length, 1);
  await end();
});

test("a component that comes again connects again", async () => {
  const { Page, made } = page();
  for (const count of [1, 2]) {
    const { end } = await mounted(Page, {}, false);
    assert.deepEqual([made.length, open(made).length], [count, 1]);
    await end();
  }
  assert.deepEqual(open(made), []);
});

test("functions among the options are those of the newest drawing", async () => {
  const WebSocket = fakeWebSocket();
  const Page = ({ token }) => {
    hooks.useGateway("ws://gateway.test/", { WebSocket, getToken: () => token });
    return null;
  };
  const { draw, end } = await mounted(Page, { token: "t1" }, false);
  const { made } = WebSocket;
  await act(async () => made[0].welcome());
  await draw({ token: "t2" });
  made[0].break(4003);
  await new Promise((resolve) => setTimeout(resolve, 600));
  assert.deepEqual(made.map(({ protocols }) => protocols[1]), ["gateway.bearer.t1", "gateway.bearer.t2"]);
  await end();
});

test("on a server it is closed, and nothing begins", () => {
  const { Page, made } = page();
  assert.equal(renderToString(React.createElement(Page)), "<p>closed</p>");
  assert.deepEqual(made, []);
});
