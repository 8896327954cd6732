// The list of runs, kept up to date. Every name is put in as text.
const part = (name) => document.querySelector(`[data-part="${name}"]`);
const rows = new Map(), chosen = new Set();
const MOST = 4;
const sent = address.read();
const state = { search: sent.search ?? "", sort: sent.sort ?? "written", down: sent.down === "1" };
let listed = [];

const secondsOf = (text) => [...(text ?? "").matchAll(/([\d.]+) (h|min|s)/g)].reduce((sum, [, value, unit]) => sum + value * { h: 3600, min: 60, s: 1 }[unit], 0);
const numberOf = (text) => (text ? Number(text.replaceAll(",", "")) : NaN);
// What runs are put in order by: what is smallest comes first, and what isn't known last, whichever way it goes.
const ORDERS = {
  written: ["last written", null],
  name: ["name", ({ name }) => name.toLowerCase()],
  state: ["state", ({ message }) => message],
  model: ["model", ({ model }) => model || null],
  step: ["step", ({ step }) => numberOf(step)],
  loss: ["loss", ({ loss }) => numberOf(loss)],
  time: ["time trained", ({ time }) => (time ? secondsOf(time) : NaN)],
};
const isKnown = (value) => value !== null && value !== undefined && !Number.isNaN(value);
const sorted = (runs) => {
  const key = ORDERS[state.sort]?.[1];
  if (!key) return state.down ? [...runs].reverse() : runs;
  const sign = state.down ? -1 : 1;
  return [...runs].sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    if (!isKnown(x) || !isKnown(y)) return isKnown(y) - isKnown(x);
    return sign * (x < y ? -1 : x > y ? 1 : 0);
  });
};
const wordsOf = (run) => Object.values(run).flat(2).filter((value) => typeof value === "string").join(" ").toLowerCase();
const isFound = (run) => state.search.toLowerCase().split(/\s+/).every((word) => wordsOf(run).includes(word));

const element = (name, attributes = {}, ...inside) => {
  const made = Object.assign(document.createElement(name), attributes);
  made.append(...inside);
  return made;
};
const asked = (names) => names.map((name) => `name=${encodeURIComponent(name)}`).join("&");

const showChoice = () => {
  for (const name of chosen) if (!listed.some((run) => run.name === name)) chosen.delete(name);
  part("compare").disabled = chosen.size < 2;
  for (const [name, { box, unread }] of rows) box.disabled = (unread || chosen.size >= MOST) && !chosen.has(name);
};

const rowOf = (name) => {
  const box = element("input", { type: "checkbox" });
  box.setAttribute("aria-label", `compare ${name}`);
  box.addEventListener("input", () => {
    if (box.checked) chosen.add(name);
    else chosen.delete(name);
    showChoice();
  });
  const cells = Object.fromEntries(["state", "model", "step", "loss", "time"].map((key) => [key, element("td", { className: key })]));
  cells.chip = element("span");
  cells.state.append(cells.chip);
  const link = element("a", { href: `run?${asked([name])}`, textContent: name }), summary = element("span", { className: "summary" });
  const row = element("tr", {}, element("td", { className: "box" }, element("label", {}, box)),
    element("th", { scope: "row" }, link, summary), cells.state, cells.model, cells.step, cells.loss, cells.time);
  for (const [key, label] of [["step", "step"], ["loss", "loss"], ["time", "trained for"]]) {
    cells[key].classList.add("number");
    cells[key].dataset.label = label;
  }
  return { row, box, cells, summary };
};

const shown = (all) => {
  listed = all;
  const runs = sorted(all.filter(isFound));
  const names = new Set(runs.map(({ name }) => name));
  for (const [name, { row }] of rows) {
    if (names.has(name)) continue;
    row.remove();
    if (!listed.some((run) => run.name === name)) rows.delete(name);
  }
  runs.forEach((run, place) => {
    if (!rows.has(run.name)) rows.set(run.name, rowOf(run.name));
    const { row, cells, summary } = rows.get(run.name);
    rows.get(run.name).unread = run.trouble !== undefined;
    cells.chip.className = `chip ${run.kind}`;
    cells.chip.textContent = run.message;
    for (const key of ["model", "step", "loss", "time"]) cells[key].textContent = run[key] ?? "";
    summary.textContent = run.trouble ?? run.summary ?? "";
    if (part("rows").children[place] !== row) part("rows").insertBefore(row, part("rows").children[place] ?? null);
  });
  part("none").hidden = all.length > 0;
  part("unfound").hidden = runs.length > 0 || !all.length;
  document.querySelector(".runs").hidden = runs.length === 0;
  const counted = `${all.length} run${all.length === 1 ? "" : "s"}`;
  part("count").textContent = runs.length === all.length ? counted : `${runs.length} of ${counted}`;
  for (const button of document.querySelectorAll("[data-sort]")) {
    const here = button.dataset.sort === state.sort;
    if (here) button.parentElement.setAttribute("aria-sort", state.down ? "descending" : "ascending");
    else button.parentElement.removeAttribute("aria-sort");
  }
  showChoice();
};
const look = (changes) => {
  Object.assign(state, changes);
  part("sort").value = state.sort;
  address.write({ search: state.search, sort: state.sort === "written" ? null : state.sort, down: state.down });
  shown(listed);
};
part("sort").replaceChildren(...Object.entries(ORDERS).map(([key, [label]]) => new Option(label, key)));
part("sort").value = state.sort in ORDERS ? state.sort : "written";
part("search").value = state.search;
part("search").addEventListener("input", ({ target }) => look({ search: target.value }));
part("sort").addEventListener("input", ({ target }) => look({ sort: target.value, down: false }));
for (const button of document.querySelectorAll("[data-sort]")) {
  const key = button.dataset.sort;
  button.addEventListener("click", () => look({ sort: key, down: state.sort === key && !state.down }));
}

part("compare").addEventListener("click", () => location.assign(`compare?${asked([...chosen])}`));

let source = null;
const listen = () => {
  source = new EventSource("events");
  source.addEventListener("state", ({ data }) => {
    part("state").className = "chip growing";
    part("state").textContent = "connected";
    shown(JSON.parse(data));
  });
  source.addEventListener("error", () => {
    part("state").className = "chip lost";
    part("state").textContent = "no connection, trying again";
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, 2000);
  });
};
document.addEventListener("visibilitychange", () => {
  source?.close();
  if (document.visibilityState === "visible") listen();
});
listen();
