// Pages of the operations room: what is on them is asked for every second while they are visible.
//
// The server shows the same values at load; this only keeps them true. A table never moves under a
// reader: while its rows are pointed at, focused or chosen, what came and went waits.

/**
 * @typedef {{text?: string, below?: string, title?: string, href?: string, tone?: string,
 *   since?: number, fixed?: boolean}} Cell
 * @typedef {{key: string, cells: Cell[]}} Row
 * @typedef {{note?: string, facts?: [string, Cell][], rows?: Row[], empty?: string,
 *   steps?: [Cell, Cell][], next?: string}} Part
 * @typedef {{parts: Record<string, Part>, wholly?: boolean}} Answer
 */

const SLOWEST = 30000;
const PATIENCE = 10000;
const MOST_ROWS = 200;

const texts = JSON.parse(document.getElementById("gateway-texts")?.textContent ?? "{}");
const room = /** @type {HTMLElement} */ (document.getElementById("gateway-room"));
const status = document.getElementById("gateway-status");
const EVERY = 1000 * Number(room.dataset.every ?? 1);

// --- words -----------------------------------------------------------------------------------

/** @param {string} text @param {Record<string, string | number>} values */
function filled(text, values) {
  return text.replace(/%\((\w+)\)[sd]/g, (_, name) => String(values[name] ?? ""));
}

const loaded = performance.now();

/** The server's clock: a reader's own may be wrong. */
function now() {
  return Number(room.dataset.now) + (performance.now() - loaded) / 1000;
}

/** The two largest units, as the server writes them. @param {number} seconds */
function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  for (let place = 0; place < texts.units.length - 1; place++) {
    const [unit, size] = texts.units[place];
    const [next, nextSize] = texts.units[place + 1];
    if (whole >= size) {
      const rest = Math.floor((whole % size) / nextSize);
      return `${unit.replace("%d", Math.floor(whole / size))} ${next.replace("%d", rest)}`;
    }
  }
  return texts.units.at(-1)[0].replace("%d", whole);
}

function tick() {
  for (const time of room.querySelectorAll("time[data-since]")) {
    const text = duration(now() - Number(/** @type {HTMLElement} */ (time).dataset.since));
    if (time.textContent !== text) time.textContent = text;
  }
}

// --- what parts are made of ------------------------------------------------------------------

/** @type {WeakMap<Element, string>} */
const shown = new WeakMap();

/** @param {Element} place @param {Cell} cell */
function fill(place, cell) {
  const form = JSON.stringify(cell);
  if (shown.get(place) === form) return;
  shown.set(place, form);
  const inner = cell.since === undefined ? written(cell) : elapsed(cell);
  const children = [cell.href ? linked(cell, inner) : inner];
  if (cell.below) children.push(Object.assign(document.createElement("bdi"),
    { className: "gateway-below", textContent: cell.below }));
  // What has the focus keeps it: its text changes, not the element.
  const link = place.querySelector("a");
  if (link && cell.href && link === document.activeElement) {
    link.href = cell.href;
    link.replaceChildren(inner);
    return;
  }
  place.replaceChildren(...children);
}

/** @param {Cell} cell */
function written(cell) {
  const text = document.createElement("bdi");
  text.textContent = cell.text ?? "";
  if (cell.tone) text.classList.add("gateway-badge", cell.tone);
  if (cell.fixed) text.classList.add("gateway-fixed");
  if (cell.title && !cell.href) text.title = cell.title;
  return text;
}

/** @param {Cell} cell */
function elapsed(cell) {
  const time = document.createElement("time");
  time.dataset.since = String(cell.since);
  time.textContent = duration(now() - Number(cell.since));
  if (cell.title) time.title = cell.title;
  return time;
}

/** @param {Cell} cell @param {Element} inner */
function linked(cell, inner) {
  const link = document.createElement("a");
  link.href = cell.href ?? "";
  if (cell.title) link.title = cell.title;
  link.append(inner);
  return link;
}

/** @param {Element} part @param {[string, Cell][]} facts */
function showFacts(part, facts) {
  const list = /** @type {Element} */ (part.querySelector("dl"));
  const labels = [...list.querySelectorAll("dt")].map((one) => one.textContent);
  if (labels.join("\n") !== facts.map(([label]) => label).join("\n")) {
    list.replaceChildren(...facts.map(([label]) => {
      const line = document.createElement("div");
      const term = Object.assign(document.createElement("dt"), { textContent: label });
      line.append(term, document.createElement("dd"));
      return line;
    }));
  }
  list.querySelectorAll("dd").forEach((place, index) => fill(place, facts[index][1]));
}

/** @param {Element} part @param {[Cell, Cell][]} steps */
function showStory(part, steps) {
  const list = /** @type {Element} */ (part.querySelector("ol"));
  list.replaceChildren(...steps.map(([at, told]) => {
    const step = document.createElement("li");
    if (told.tone) step.className = told.tone;
    const when = document.createElement("span");
    when.className = "gateway-when";
    when.textContent = at.text || "–";
    const line = document.createElement("p");
    fill(line, { ...told, tone: undefined });
    step.append(when, line);
    return step;
  }));
}

// --- tables ----------------------------------------------------------------------------------

class Table {
  /** @param {HTMLElement} part */
  constructor(part) {
    this.part = part;
    this.body = /** @type {HTMLElement} */ (part.querySelector("tbody"));
    this.heads = [...part.querySelectorAll("thead th:not(.gateway-pick)")];
    this.pick = this.body.dataset.pick;
    this.waiting = /** @type {HTMLElement} */ (part.querySelector("[data-waiting]"));
    this.pointed = false;
    /** @type {Row[] | null} */
    this.newest = null;
    this.body.addEventListener("pointerenter", (event) => {
      this.pointed = event.pointerType === "mouse";
    });
    this.body.addEventListener("pointerleave", () => {
      this.pointed = false;
      this.settle();
    });
    this.body.addEventListener("focusout", () => setTimeout(() => this.settle()));
    this.body.addEventListener("change", () => this.settle());
  }

  /** Whether somebody reads or chooses just now, and nothing may move. */
  get held() {
    return this.pointed || this.body.contains(document.activeElement) || this.chosen > 0;
  }

  get chosen() {
    return this.body.querySelectorAll("input:checked").length;
  }

  /** @param {Row[]} rows */
  show(rows) {
    this.newest = rows;
    this.settle();
  }

  /** @param {Row[]} rows Newest first; they come above those that are there. */
  add(rows) {
    const there = [...this.body.children].map((row) => this.keyOf(row));
    const fresh = rows.filter((row) => !there.includes(row.key));
    this.body.prepend(...fresh.map((row) => this.made(row)));
    while (this.body.children.length > MOST_ROWS) this.body.lastElementChild?.remove();
    this.count(this.body.children.length);
  }

  /** Show the newest rows, or as much of them as moves nothing. */
  settle() {
    if (!this.newest) return;
    const rows = this.newest;
    if (!this.held) return this.arrange(rows);
    const wanted = new Map(rows.map((row) => [row.key, row]));
    let waiting = rows.length;
    let order = [];
    for (const line of this.body.children) {
      const row = wanted.get(this.keyOf(line));
      this.mark(line, !row);
      if (!row) {
        this.end(line);
        order.push("");
        continue;
      }
      waiting--;
      order.push(row.key);
      this.update(line, row);
    }
    const gone = order.filter((key) => !key).length;
    const kept = order.filter(Boolean);
    const moved = rows.filter((row) => kept.includes(row.key)).map((row) => row.key);
    const turned = moved.filter((key, place) => key !== kept[place]).length;
    this.tell(waiting + gone + turned);
  }

  /** @param {Row[]} rows */
  arrange(rows) {
    const lines = new Map([...this.body.children].map((line) => [this.keyOf(line), line]));
    let place = this.body.firstElementChild;
    for (const row of rows) {
      const line = lines.get(row.key) ?? this.made(row);
      lines.delete(row.key);
      this.mark(line, false);
      this.update(line, row);
      if (line === place) place = place.nextElementSibling;
      else this.body.insertBefore(line, place);
    }
    for (const line of lines.values()) line.remove();
    this.newest = null;
    this.tell(0);
    this.count(rows.length);
  }

  /** @param {Element} line @param {boolean} gone */
  mark(line, gone) {
    line.classList.toggle("gateway-gone", gone);
    /** @type {HTMLElement} */ (line).title = gone ? texts.gone : "";
  }

  /** What is gone can be chosen no more. @param {Element} line */
  end(line) {
    const box = /** @type {HTMLInputElement | null} */ (line.querySelector("input"));
    if (box) box.disabled = true;
    if (box?.checked) {
      box.checked = false;
      box.dispatchEvent(new Event("change", { bubbles: true }));
    }
  }

  /** @param {number} count */
  tell(count) {
    if (this.waiting.dataset.count === String(count)) return;
    this.waiting.dataset.count = String(count);
    this.waiting.hidden = count === 0;
    if (count === 0) return this.waiting.replaceChildren();
    const text = filled(texts.waiting[count === 1 ? 0 : 1], { count });
    const button = this.waiting.querySelector("button") ?? this.showButton();
    this.waiting.replaceChildren(`${text} `, button);
  }

  showButton() {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "gateway-link";
    button.textContent = texts.show;
    button.addEventListener("click", () => this.newest && this.arrange(this.newest));
    return button;
  }

  /** @param {number} count */
  count(count) {
    const empty = /** @type {HTMLElement} */ (this.part.querySelector("[data-empty]"));
    empty.hidden = count > 0;
    this.part.classList.toggle("gateway-is-empty", count === 0);
  }

  /** @param {Element} line */
  keyOf(line) {
    return /** @type {HTMLElement} */ (line).dataset.key ?? "";
  }

  /** @param {Row} row */
  made(row) {
    const line = document.createElement("tr");
    line.dataset.key = row.key;
    if (this.pick) line.append(this.box(row.key));
    for (const head of this.heads) {
      const place = document.createElement("td");
      place.className = head.className.replace("column-", "field-");
      place.dataset.label = head.textContent?.trim() ?? "";
      line.append(place);
    }
    this.update(line, row);
    return line;
  }

  /** @param {string} key */
  box(key) {
    const place = document.createElement("td");
    place.className = "gateway-pick";
    const box = document.createElement("input");
    Object.assign(box, { type: "checkbox", name: "session", value: key });
    box.setAttribute("aria-label", `${this.pick} ${key}`);
    place.append(box);
    return place;
  }

  /** @param {Element} line @param {Row} row */
  update(line, row) {
    const box = /** @type {HTMLInputElement | null} */ (line.querySelector(".gateway-pick input"));
    if (box) box.disabled = false;
    const places = line.querySelectorAll("td:not(.gateway-pick)");
    row.cells.forEach((cell, index) => fill(places[index], cell));
  }
}

/** @type {Map<string, Table>} */
const tables = new Map();

/** @param {Answer} answer */
function show(answer) {
  for (const [id, part] of Object.entries(answer.parts)) {
    const place = document.getElementById(`part-${id}`);
    if (!place && document.getElementById("gateway-problem")) return location.reload();
    if (!place) continue; // a page that shows some of it
    if (part.facts) showFacts(place, part.facts);
    if (part.steps) showStory(place, part.steps);
    if (part.rows) showTable(id, place, part, answer.wholly);
    const note = place.querySelector("[data-note]");
    if (note && note.textContent !== (part.note ?? "")) note.textContent = part.note ?? "";
  }
  document.dispatchEvent(new CustomEvent("gateway:answer", { detail: answer }));
}

/**
 * @param {string} id @param {HTMLElement} place @param {Part} part
 * @param {boolean | undefined} wholly
 */
function showTable(id, place, part, wholly) {
  let table = tables.get(id);
  if (!table) tables.set(id, (table = new Table(place)));
  const empty = place.querySelector("[data-empty]");
  if (empty && part.empty) empty.textContent = part.empty;
  const rows = part.rows ?? [];
  if (wholly === false) table.add(rows);
  else table.show(rows);
  if (part.next) place.dataset.next = part.next;
  else if (wholly !== undefined) delete place.dataset.next;
}

// --- asking ----------------------------------------------------------------------------------

let etag = "";
let pause = EVERY;
let since = new Date();
/** @type {ReturnType<typeof setTimeout> | undefined} */
let timer;
let stopped = false;
let asking = false;

/** @param {string} text @param {Node} [more] */
function say(text, more, trouble = false) {
  if (!status || status.dataset.said === text) return;
  status.dataset.said = text;
  status.classList.toggle("gateway-trouble", trouble);
  status.replaceChildren(text, ...(more ? [" ", more] : []));
}

/** @param {string} text @param {Node} [more] */
function stop(text, more) {
  stopped = true;
  say(text, more, true);
  room.classList.add("gateway-stale");
}

function logIn() {
  const link = document.createElement("a");
  link.href = location.href; // the admin asks for the login, and leads back
  link.textContent = texts.logIn;
  return link;
}

/** The address, with what the page knows already. */
function address() {
  const url = new URL(room.dataset.url ?? "", location.href);
  const after = document.querySelector("[data-next]")?.getAttribute("data-next");
  if (after) url.searchParams.set("after", after);
  document.dispatchEvent(new CustomEvent("gateway:ask", { detail: url }));
  return url;
}

let asked = "";

async function ask() {
  if (asking || stopped || document.hidden) return;
  asking = true;
  const began = performance.now();
  try {
    const url = String(address());
    const headers = etag && url === asked ? { "If-None-Match": etag } : undefined;
    asked = url;
    const answer = await fetch(url, {
      headers,
      redirect: "manual",
      cache: "no-store",
      signal: AbortSignal.timeout(PATIENCE),
    });
    await take(answer);
  } catch (error) {
    trouble(texts.noAnswer);
    if (!(error instanceof TypeError || error instanceof DOMException)) throw error;
  } finally {
    asking = false;
    // Of a server that waits for a silent node no page holds more than a third of a process.
    const rest = Math.max(pause, 2 * (performance.now() - began));
    if (!stopped && !document.hidden) timer = setTimeout(ask, rest);
  }
}

/** @param {Response} answer */
async function take(answer) {
  if (answer.type === "opaqueredirect") return stop(texts.loggedOut, logIn());
  if (answer.status === 403) return stop(texts.forbidden);
  if (answer.status === 400) return stop((await answer.json()).problem ?? texts.noAnswer);
  if (answer.status !== 200 && answer.status !== 304) return trouble(await problem(answer));
  if (answer.status === 200) {
    const told = await answer.json();
    etag = answer.headers.get("ETag") ?? "";
    show(told);
  }
  pause = EVERY;
  since = new Date();
  room.classList.remove("gateway-stale");
  document.getElementById("gateway-problem")?.remove();
  say(texts.live);
}

/** @param {Response} answer */
async function problem(answer) {
  try {
    return (await answer.json()).problem ?? texts.noAnswer;
  } catch {
    return `HTTP ${answer.status}`;
  }
}

/** @param {string} what */
function trouble(what) {
  pause = Math.min(SLOWEST, pause * 2);
  const time = since.toLocaleTimeString(document.documentElement.lang || undefined);
  const stale = filled(texts.stale, { time, problem: what });
  say(`${stale} ${filled(texts.again, { seconds: pause / 1000 })}`, undefined, true);
  room.classList.add("gateway-stale");
}

function wake() {
  clearTimeout(timer);
  if (document.hidden) {
    if (!stopped) say(texts.paused);
    return;
  }
  if (pause === EVERY) ask();
  else timer = setTimeout(ask, EVERY);
}

// --- forms -----------------------------------------------------------------------------------

function countChosen() {
  const count = document.querySelectorAll("#gateway-chosen input:checked").length;
  const place = document.getElementById("gateway-count");
  if (place) place.textContent = count ? filled(texts.chosen[count === 1 ? 0 : 1], { count }) : "";
  const button = /** @type {HTMLButtonElement | null} */ (
    document.querySelector("#gateway-chosen .gateway-actions button")
  );
  if (button) button.disabled = count === 0;
}

function watchJson() {
  const area = /** @type {HTMLTextAreaElement | null} */ (
    document.querySelector("textarea.gateway-json")
  );
  const place = document.getElementById("gateway-json-said");
  if (!area || !place) return;
  const look = () => {
    let said = "";
    try {
      if (area.value.trim()) {
        JSON.parse(area.value);
        said = texts.goodJson;
      }
      place.classList.remove("gateway-error");
    } catch (error) {
      said = filled(texts.badJson, { problem: /** @type {Error} */ (error).message });
      place.classList.add("gateway-error");
    }
    place.textContent = said;
  };
  area.addEventListener("input", look);
  look();
}

/** A double press is one: the server sends a form once, too. */
function pressOnce() {
  for (const form of document.querySelectorAll("form.gateway-form")) {
    form.addEventListener("submit", (event) => {
      if (form.classList.contains("gateway-pressed")) event.preventDefault();
      form.classList.add("gateway-pressed");
    });
  }
  // Who comes back to this page may press again.
  addEventListener("pageshow", () => {
    document.querySelector(".gateway-pressed")?.classList.remove("gateway-pressed");
  });
}

document.addEventListener("change", countChosen);
pressOnce();
countChosen();
watchJson();
setInterval(tick, 1000);
if (room.dataset.url) {
  for (const part of room.querySelectorAll("[data-kind=table]")) {
    const place = /** @type {HTMLElement} */ (part);
    tables.set(place.dataset.part ?? "", new Table(place));
  }
  document.addEventListener("visibilitychange", wake);
  wake();
}

export {};
