// The list of runs, kept up to date. Every name is put in as text.
const part = (name) => document.querySelector(`[data-part="${name}"]`);
const rows = new Map(), chosen = new Set();
const MOST = 4;

const element = (name, attributes = {}, ...inside) => {
  const made = Object.assign(document.createElement(name), attributes);
  made.append(...inside);
  return made;
};
const asked = (names) => names.map((name) => `name=${encodeURIComponent(name)}`).join("&");

const showChoice = () => {
  for (const name of chosen) if (!rows.has(name)) chosen.delete(name);
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

const shown = (runs) => {
  const names = new Set(runs.map(({ name }) => name));
  for (const [name, { row }] of rows) {
    if (names.has(name)) continue;
    row.remove();
    rows.delete(name);
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
  part("none").hidden = runs.length > 0;
  document.querySelector(".runs").hidden = runs.length === 0;
  part("count").textContent = `${runs.length} run${runs.length === 1 ? "" : "s"}`;
  showChoice();
};

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
