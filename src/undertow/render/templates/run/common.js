// What every page of runs does alike: it reads what it was given, and puts names in as text.
const given = JSON.parse(document.getElementById("given").textContent);
const offerAlong = () => {
  filled(part("x"), ALONG.filter(([key]) => key !== "time" || state.clock), state.x === "time" && !state.clock ? "steps" : state.x);
};
const part = (name) => document.querySelector(`[data-part="${name}"]`);
const plotOf = (name) => document.querySelector(`[data-plot="${name}"]`);

const opened = (data) => {
  const all = (group) => Object.fromEntries(Object.entries(group).map(([name, each]) => [name, seriesOf(each)]));
  const read = { ...data, scalars: all(data.scalars), quantities: all(data.quantities), taped: unpack(data.taped, Float64Array) };
  const several = [...Object.values(read.scalars), ...Object.values(read.quantities)].filter(({ count }) => count);
  const first = several.map((each) => each.first[0]), last = several.map((each) => each.last[each.count - 1]);
  const clock = data.clock ? clockOf(seriesOf(data.clock)) : null;
  return { ...read, clock, steps: several.length ? [Math.min(...first), Math.max(...last)] : [0, 1] };
};

const filled = (select, options, value) => {
  const same = select.options.length === options.length && options.every(([key, label], k) =>
    select.options[k].value === key && select.options[k].text === label);
  if (!same) select.replaceChildren(...options.map(([key, label]) => new Option(label, key)));
  select.value = value;
};
const element = (name, attributes = {}, ...inside) => {
  const made = Object.assign(document.createElement(name), attributes);
  made.append(...inside);
  return made;
};
// Since when, and until when, a finding holds; one that doesn't know says nothing.
const spanOf = ({ began, ended, born }) => {
  if (began === null) return "";
  const at = (step) => step.toLocaleString("en"), until = ended === null ? "" : `, ended at step ${at(ended)}`;
  return (born ? `from the start, step ${at(began)}` : `began at step ${at(began)}`) + until;
};

const logFits = (lines) => lines.every(({ series: { low, high } }) => {
  let least = Infinity, most = 0;
  for (const value of low) if (Number.isFinite(value)) least = Math.min(least, value);
  for (const value of high) if (Number.isFinite(value)) most = Math.max(most, value);
  return least > 0 && most / least > 20;
});

const drawLegend = (range, log) => {
  if (!range) return part("legend").replaceChildren();
  const bar = element("i", { className: "scale" });
  bar.style.background = `linear-gradient(90deg, ${HEAT.map((c) => `rgb(${c})`)})`;
  const red = element("i", { className: "swatch" });
  red.style.background = `rgb(${NOT_FINITE})`;
  const [low, high] = log ? [range[0] * 1.2, range[1] / 1.2] : range;
  part("legend").replaceChildren(number(low), bar, number(high), element("span", {}, red, "not finite"));
};

// Only what is on the screen, or about to be, is drawn; the rest when it gets there.
const stale = new Set(), frames = {};
const figureOf = (name) => document.querySelector(`[data-figure="${name}"]`);
const isNear = (name) => {
  const { top, bottom } = figureOf(name).getBoundingClientRect();
  return bottom > -300 && top < innerHeight + 300;
};
const drawStale = (all = false) => {
  for (const name of [...stale].filter((each) => all || isNear(each))) {
    stale.delete(name);
    delete frames[name];
    PICTURES[name]();
    if (frames[name]) follow(name);
  }
};
const watchScreen = () => {
  for (const name of Object.keys(PICTURES)) new IntersectionObserver(() => drawStale(), { rootMargin: "300px" }).observe(figureOf(name));
  addEventListener("beforeprint", () => drawStale(true));
};
