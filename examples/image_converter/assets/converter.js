/**
 * The demo page: takes images, shows the visitor's jobs, and keeps the list right by the gateway.
 *
 * A job arrives whole with every message and carries `rev`, so the newest view wins, whichever way
 * and in whichever order it came.
 */

import { Gateway } from "/gateway.js";
import { Rows } from "./rows.js";

const { socketUrl, maxBytes } = document.body.dataset;
const TICK = 500; // ms between two looks at the clock: count-downs, expired jobs
const COUNT_TABS = 10_000;
const byId = (id) => document.getElementById(id);
const rows = new Rows({
  list: byId("jobs"), row: byId("job-row"), empty: byId("empty"), summary: byId("summary"), said: byId("said"),
});

// --- the API server

async function api(path, options) {
  const response = await fetch(path, options);
  if (response.ok) return response.json();
  throw Object.assign(new Error(await explained(response)), { status: response.status });
}

async function explained(response) {
  try {
    return (await response.json()).error.message;
  } catch {
    return response.status === 413 ? tooLarge() : `the server answered ${response.status}`;
  }
}

const tooLarge = () => `Larger than ${Math.floor(maxBytes / 2 ** 20)} MB`;
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** Load the list, however long that takes; returns the position it stands at. */
async function load() {
  for (;;) {
    const since = performance.now();
    try {
      const { position, jobs } = await api("jobs");
      rows.replace(jobs, since);
      showProblem("");
      return position;
    } catch (error) {
      showProblem(error.status === 401 ? "This page needs its cookie: allow cookies and reload." :
        "The list cannot be loaded just now. Trying again…");
      await pause(2000);
    }
  }
}

function showProblem(text) {
  byId("problem").textContent = text;
  byId("problem").hidden = !text;
}

/** `fetch` tells nothing while it uploads; XMLHttpRequest does. */
function upload(file) {
  const chosen = document.querySelector("input[name=format]:checked");
  const ref = crypto.getRandomValues(new Uint32Array(3)).join("-");
  const job = {
    id: `local-${ref}`, ref, name: file.name, format: chosen.value, source_bytes: file.size,
    created: Date.now() / 1000, expires: Infinity, rev: 0, state: "uploading", percent: 0, local: true,
  };
  const change = (changes) => rows.local({ ...job, ...changes });
  if (file.size > maxBytes) return change({ state: "failed", error: tooLarge() });
  change({});
  const request = new XMLHttpRequest();
  const query = new URLSearchParams({ format: job.format, name: file.name, ref });
  request.open("POST", `jobs?${query}`);
  request.upload.onprogress = ({ loaded, total }) => change({ percent: Math.floor((loaded * 100) / total) });
  request.onload = async () => {
    const response = new Response(request.responseText, { status: request.status });
    if (response.ok) rows.put(await response.json());
    else change({ state: "failed", error: await explained(response) });
  };
  request.onerror = () => change({ state: "failed", error: "The upload broke off: check the connection" });
  request.send(file);
}

// --- the gateway

const position = await load();
const gateway = new Gateway(socketUrl, {
  position,
  getToken: async () => (await api("token", { method: "POST" })).token,
});
gateway.on("message", ({ event, data }) => event.startsWith("job.") && rows.put(data));
gateway.on("reset", load);

// --- the connection, for people

let tabs = 1;
const otherTabs = new BroadcastChannel("demo");

function showStatus() {
  const { state, retryAt, reason } = gateway.status;
  const seconds = Math.max(0, Math.ceil(((retryAt ?? 0) - Date.now()) / 1000));
  const text = {
    online: tabs > 1 ? `Live in ${tabs} tabs` : "Live",
    connecting: "Connecting…",
    offline: seconds > 0 ? `Offline · retry in ${seconds} s` : "Reconnecting…",
    closed: `Disconnected${reason ? `: ${reason}` : ""}`,
  }[state];
  const pill = byId("status");
  pill.dataset.state = state;
  if (pill.firstElementChild.textContent !== text) pill.firstElementChild.textContent = text;
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
  if (state !== "online") return;
  countTabs();
  otherTabs.postMessage("here");
});
otherTabs.onmessage = () => setTimeout(countTabs, 200);
addEventListener("pagehide", () => otherTabs.postMessage("gone"));
setInterval(() => document.hidden || countTabs(), COUNT_TABS);
byId("retry").onclick = () => gateway.connect();
setInterval(() => (showStatus(), rows.tick(Date.now() / 1000)), TICK);
showStatus();

// --- choosing and dropping

const files = byId("files");
const drop = byId("drop");
files.onchange = () => {
  for (const file of files.files) upload(file);
  files.value = ""; // the same file may be chosen again
};
byId("form").onsubmit = (event) => event.preventDefault();
const dragged = (event) => event.dataTransfer?.types.includes("Files");
// The whole page is the target: a near miss must not open the image instead.
addEventListener("dragover", (event) => {
  if (!dragged(event)) return;
  event.preventDefault();
  drop.classList.add("over");
});
addEventListener("dragleave", (event) => event.relatedTarget || drop.classList.remove("over"));
addEventListener("drop", (event) => {
  if (!dragged(event)) return;
  event.preventDefault();
  drop.classList.remove("over");
  for (const file of event.dataTransfer.files) upload(file);
});
