/**
 * The demo page: takes images, shows the visitor's jobs, and keeps the list right by the gateway.
 *
 * A job arrives whole with every `job.…` message and carries `rev`, so the newest view wins, whichever
 * way and in whichever order it came. How far its task is comes from the worker as `task.progress`.
 */

import { Gateway } from "/gateway.js";
import { wish } from "./options.js";
import { Rows } from "./rows.js";
import { texts } from "./texts.js";
import { Uploads, explained } from "./uploads.js";

const { socketUrl, maxBytes } = document.body.dataset;
const TICK = 500; // ms between two looks at the clock: count-downs, expired jobs
const COUNT_TABS = 10_000;
const byId = (id) => document.getElementById(id);
const files = byId("files");
const rows = new Rows(
  {
    list: byId("jobs"), row: byId("job-row"), empty: byId("empty"), summary: byId("summary"), said: byId("said"),
    all: byId("all"), clear: byId("clear"), fallback: files,
  },
  act,
);
const uploads = new Uploads(rows, Number(maxBytes));
let skew = 0; // seconds that the server's clock is ahead of ours

// --- the API server

async function api(path, options) {
  const response = await fetch(path, options);
  const text = await response.text();
  if (response.ok) return JSON.parse(text);
  throw Object.assign(new Error(explained(text, response.status, maxBytes)), { status: response.status });
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** Load the list, however long that takes; returns the position it stands at. */
async function load() {
  for (;;) {
    const since = performance.now();
    try {
      const { position, now, jobs } = await api("jobs");
      skew = now - Date.now() / 1000;
      rows.replace(jobs, since);
      showProblem("");
      return position;
    } catch (error) {
      showProblem(error.status === 401 ? texts.allowCookies : texts.cannotLoad);
      await pause(2000);
    }
  }
}

function showProblem(text) {
  byId("problem").textContent = text;
  byId("problem").hidden = !text;
}

/** A button of a row. */
async function act(action, job) {
  if (job.local) {
    if (action === "again") return uploads.again(job);
    uploads.cancel(job);
    return rows.remove(job.id);
  }
  const [method, path] = {
    cancel: ["POST", `jobs/${job.id}/cancel`], again: ["POST", `jobs/${job.id}/retry`], remove: ["DELETE", `jobs/${job.id}`],
  }[action];
  try {
    rows.put(await api(path, { method }));
    showProblem("");
  } catch (error) {
    if (error.status === 404) rows.remove(job.id); // it expired, or another tab was quicker
    else showProblem(texts.failed(error.status ? error.message : texts.cannotReach));
  }
}

// --- choosing, dropping, pasting: before anything is waited for, so that no image is missed

function take(list, rename = (file) => file.name) {
  const wanted = list.length && wish();
  if (!wanted) return;
  for (const file of list) uploads.add(file, rename(file), wanted);
  rows.say(list.length === 1 ? texts.added(rename(list[0])) : texts.addedMany(list.length));
}

files.onchange = () => {
  take([...files.files]);
  files.value = ""; // the same file may be chosen again
};
byId("form").onsubmit = (event) => event.preventDefault();

const dragged = (event) => event.dataTransfer?.types.includes("Files");
const mark = (over) => document.body.classList.toggle("dragging", over);
// The whole page is the target: a near miss must not open the image instead.
addEventListener("dragover", (event) => {
  if (!dragged(event)) return;
  event.preventDefault();
  mark(true);
});
addEventListener("dragleave", (event) => event.relatedTarget || mark(false));
addEventListener("drop", (event) => {
  if (!dragged(event)) return;
  event.preventDefault();
  mark(false);
  take([...event.dataTransfer.files]);
});
addEventListener("paste", (event) => {
  const pasted = [...(event.clipboardData?.files ?? [])];
  if (!pasted.length) return;
  event.preventDefault();
  const time = new Date().toTimeString().slice(0, 8).replaceAll(":", ".");
  // A picture that is no file has the same name every time.
  take(pasted, ({ name }) => (name === "image.png" ? texts.pasted(time) : name));
});
byId("clear").onclick = () => {
  for (const job of rows.jobs)
    if (["done", "failed", "cancelled"].includes(job.state)) act("remove", job);
};

// --- the gateway

const position = await load();
const gateway = new Gateway(socketUrl, {
  position,
  getToken: async () => (await api("token", { method: "POST" })).token,
});
gateway.on("message", ({ event, data }) => {
  if (event.startsWith("job.")) rows.put(data);
  else if (event === "task.progress") rows.progress(data.task, data.data);
  else if (event === "demo.workers") showWorkers(data);
});
gateway.on("reset", load);
addEventListener("online", () => uploads.resume());
gateway.on("welcome", async () => {
  uploads.resume();
  try {
    showWorkers(await api("workers")); // from here on a broadcast tells of changes
  } catch {
    // The page does not need to know.
  }
});

function showWorkers({ workers, capacity }) {
  rows.workers = workers;
  byId("no-workers").hidden = workers !== 0;
  byId("workers").textContent = workers ? texts.converters(workers, capacity) : "";
}

// --- the connection, for people

let tabs = 1;
const otherTabs = new BroadcastChannel("demo");

function showStatus() {
  const { state, retryAt, reason } = gateway.status;
  const seconds = Math.max(0, Math.ceil(((retryAt ?? 0) - Date.now()) / 1000));
  const text = {
    online: tabs > 1 ? texts.liveInTabs(tabs) : texts.live,
    connecting: texts.connecting,
    offline: seconds > 0 ? texts.offline : texts.reconnecting,
    closed: texts.disconnected(reason),
  }[state];
  const pill = byId("status");
  pill.dataset.state = state;
  if (pill.firstElementChild.textContent !== text) pill.firstElementChild.textContent = text;
  pill.lastElementChild.textContent = state === "offline" && seconds > 0 ? `· ${texts.nextTry(seconds)}` : "";
  byId("retry").hidden = state !== "closed" && !(state === "offline" && seconds > 0);
}

async function countTabs() {
  try {
    tabs = (await gateway.sessions()).length;
    showStatus();
  } catch {
    // Offline, which the pill says already.
  }
}

gateway.on("status", ({ state }) => {
  showStatus();
  if (state !== "connecting") rows.connected = state === "online"; // an attempt changes nothing yet
  if (state !== "online") return showWorkers({}); // nobody knows
  countTabs();
  otherTabs.postMessage("here");
});
otherTabs.onmessage = () => setTimeout(countTabs, 200);
addEventListener("pagehide", () => otherTabs.postMessage("gone"));
addEventListener("beforeunload", (event) => uploads.active && event.preventDefault());
setInterval(() => document.hidden || countTabs(), COUNT_TABS);
byId("retry").onclick = () => gateway.connect();
setInterval(() => (showStatus(), rows.tick(Date.now() / 1000 + skew)), TICK);
showStatus();
