// One state; every control writes to it, every picture is drawn from it.
const root = document.querySelector("main");
const data = JSON.parse(document.getElementById("instruments").textContent);
const map = mapOf(data.map), measured = data.measured;
const part = (name) => root.querySelector(`[data-part="${name}"]`);
const parts = (...names) => Object.fromEntries(names.map((name) => [name, part(name)]));

const state = { ...data.start };
const controls = [...root.querySelectorAll("[data-state]")];
const isOffered = (control, value) => (control.tagName === "SELECT" ? [...control.options].some((option) => option.value === value)
  : Number.isFinite(value) && value >= Number(control.min) && value <= Number(control.max));
for (const control of controls) {
  const key = control.dataset.state, sent = address.read()[key];
  if (sent === undefined) continue;
  const value = control.type === "checkbox" ? sent !== "0" : control.tagName === "SELECT" ? sent : Number(sent);
  if (control.type === "checkbox" || isOffered(control, value)) state[key] = value;
}
const INDEXED = { iw: map.weight_var, ib: map.bias_var };

const chainPage = parts("gradient", "typical", "large", "ratio", "rows");
const regionPage = parts("factor", "low", "high", "width", "widest");
const mapPage = parts("chi", "perLayer", "qStar", "decades", "phase", "trained");

const drawOne = () => {
  const rows = chainOf(state, data.normals);
  drawChain(part("chain"), rows, state.activation, data.peaks);
  tellChain(chainPage, rows);
  drawRegion(part("region"), state, rows);
  drawWidths(part("widths"), state, rows);
  tellRegion(regionPage, state, rows, data.widest);
  part("draw").disabled = !state.random;
  part("draw").textContent = `Draw again (${state.draw + 1} of ${data.normals.length})`;
};
const drawTwo = () => {
  drawMap(part("map"), map, state, measured);
  tellMap(mapPage, map, state, measured);
  for (const button of root.querySelectorAll("[data-weight-var]")) {
    const here = Number(button.dataset.weightVar) === map.weight_var[state.iw] && Number(button.dataset.biasVar) === map.bias_var[state.ib];
    button.setAttribute("aria-pressed", String(here));
  }
};

const shown = () => {
  for (const control of controls) {
    const key = control.dataset.state, value = state[key];
    if (control.type === "checkbox") control.checked = value;
    else if (control !== document.activeElement || control.type !== "number") control.value = value;
    if (!INDEXED[key]) continue;
    const label = number(INDEXED[key][value]);
    control.setAttribute("aria-valuetext", label);
    tell(control.nextElementSibling, INDEXED[key][value], label);
  }
};

const ONE = ["activation", "w", "b", "a", "depth", "random", "draw"];
let waiting = null;
const change = (changes) => {
  Object.assign(state, changes);
  shown();
  address.write(Object.fromEntries(Object.entries(changes).map(([key, value]) =>
    [key, value === data.start[key] ? null : typeof value === "boolean" ? Number(value) : value])));
  const keys = Object.keys(changes);
  waiting = [...(waiting ?? []), ...keys];
  if (waiting.length > keys.length) return;
  requestAnimationFrame(() => {
    const moved = waiting;
    waiting = null;
    if (moved.some((key) => ONE.includes(key))) drawOne();
    if (moved.some((key) => !ONE.includes(key))) drawTwo();
  });
};

const read = (control) => {
  if (control.type === "checkbox") return control.checked;
  if (control.tagName === "SELECT") return control.value;
  if (control.value === "" || !Number.isFinite(control.valueAsNumber)) return null;
  return clamp(control.valueAsNumber, Number(control.min), Number(control.max));
};
for (const control of controls) {
  control.addEventListener("input", () => {
    const value = read(control);
    if (value !== null) change({ [control.dataset.state]: control.step === "1" ? Math.round(value) : value });
  });
}
root.addEventListener("click", ({ target }) => {
  const button = target.closest("button");
  if (!button) return;
  if (button.dataset.preset) change(data.presets[button.dataset.preset]);
  if (button.dataset.part === "draw") change({ draw: (state.draw + 1) % data.normals.length });
  if (button.dataset.weightVar) {
    change({ iw: nearest(map.weight_var, Number(button.dataset.weightVar)), ib: nearest(map.bias_var, Number(button.dataset.biasVar)) });
  }
});

const step = (value, size) => Math.round(value / size) * size;
const fixed = (value) => Number(value.toFixed(3));
onPoint(part("region"), (px, py) => {
  const picture = part("region"), { width, height } = regionFrame(picture);
  const a = scale(FIELD.left, width - FIELD.right, -A_END, A_END)(px), w = scale(FIELD.top, height - FIELD.bottom, W_END, -W_END)(py);
  change({ a: fixed(step(clamp(a, -A_END, A_END), 0.05)), w: fixed(step(clamp(w, -W_END, W_END), 0.1)) });
});
onPoint(part("map"), (px, py) => {
  const { x, y } = mapFrame(part("map"), map);
  change({ iw: nearest(map.weight_var.map(x), px), ib: nearest(map.bias_var.map(y), py) });
});

const all = () => {
  drawOne();
  drawTwo();
};
shown();
all();
let wide = root.clientWidth;
new ResizeObserver(() => {
  if (root.clientWidth === wide) return;
  wide = root.clientWidth;
  all();
}).observe(root);
document.documentElement.classList.add("explored");
