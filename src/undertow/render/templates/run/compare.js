// Several runs at once: what they share is drawn over one another, the rest side by side on the same scales.
const sent = address.read();
const SAME = { at: (v) => v, stepAt: (v) => v };
const state = { layer: sent.layer ?? null, x: sent.x ?? "steps", quantity: sent.quantity ?? "speed", step: null, clock: null };
const keepInAddress = () => address.write({
  layer: state.layer, x: state.x === "steps" ? null : state.x, quantity: state.quantity === "speed" ? null : state.quantity,
});
const views = given.runs.map(() => null);

const known = () => views.map((view, k) => ({ view, k })).filter(({ view }) => view);
// Each run has its own clock: along time, its steps are where that says.
const along = (k, series) => {
  if (!state.clock) return series;
  const at = (steps) => ({ value: steps.map(views[k].clock.at) });
  return Object.create(series, { first: at(series.first), last: at(series.last) });
};
const stepsOfAll = () => {
  const all = known().map(({ view }) => (state.clock ? view.steps.map(view.clock.at) : view.steps));
  return [Math.min(...all.map(([first]) => first)), Math.max(...all.map(([, last]) => last))];
};

const together = (scalar) => known().filter(({ view }) => view.scalars[scalar]).map(({ view, k }) =>
  ({ series: along(k, view.scalars[scalar]), row: 0, name: given.runs[k].name, colour: runColour(k) }));
const drawTogether = (name, scalar, log) => {
  const lines = together(scalar);
  if (!lines.length) return;
  const bent = log ?? logFits(lines), range = rangeOf(lines.map(({ series }) => series), bent);
  frames[name] = { ...drawLines(plotOf(name), lines, { log: bent, range, steps: stepsOfAll() }), lines };
  describe(plotOf(name), name === "loss" ? "Loss" : "Gradient norm", lines);
};

const chosenOf = (k) => {
  const series = views[k]?.quantities[state.quantity];
  return series && along(k, series);
};
const scalesOf = () => {
  const measured = known().map(({ k }) => chosenOf(k)).filter(Boolean), log = measured[0]?.log;
  return { log, range: log ? rangeOf(measured, true) : [0, 1], steps: stepsOfAll() };
};
const linesOf = (k) => {
  const series = chosenOf(k);
  return series.names.map((name, row) => ({ series, row, name, colour: depthColour(row, series.names.length) }));
};
const drawOne = (k, heat) => {
  const series = chosenOf(k), name = heat ? `heat-${k}` : `lines-${k}`;
  if (!series) return;
  const lines = linesOf(k), scales = scalesOf();
  const frame = heat ? drawHeat(plotOf(name), series.names, series, { ...scales, extreme: "high" }) : drawLines(plotOf(name), lines, scales);
  frames[name] = { ...frame, lines };
  describe(plotOf(name), `${series.title} of ${given.runs[k].name}${heat ? ", a row for each layer, by colour" : ""}`, lines);
};
const PICTURES = {
  loss: () => drawTogether("loss", "loss"),
  norm: () => drawTogether("norm", "grad_norm", true),
  ...Object.fromEntries(given.runs.flatMap((_, k) => [[`lines-${k}`, () => drawOne(k, false)], [`heat-${k}`, () => drawOne(k, true)]])),
};

const offer = () => {
  const titled = Object.fromEntries(known().flatMap(({ view }) => Object.entries(view.quantities).map(([key, { title }]) => [key, title])));
  if (!(state.quantity in titled)) state.quantity = Object.keys(titled)[0] ?? null;
  filled(part("quantity"), Object.entries(titled), state.quantity);
  state.clock = known().every(({ view }) => view.clock) ? SAME : null;
  offerAlong();
  if (state.x !== "time") state.clock = null;
  for (const title of document.querySelectorAll(".one figcaption b")) title.textContent = titled[state.quantity] ?? "";
};
const drawAll = () => {
  if (!known().length) return;
  offer();
  part("chips").replaceChildren(...given.runs.map(({ name }, k) => {
    const swatch = element("i", { className: "swatch" });
    swatch.style.background = runColour(k);
    return element("span", {}, swatch, name);
  }));
  for (const swatch of document.querySelectorAll("[data-run]")) swatch.style.background = runColour(Number(swatch.dataset.run));
  for (const name of Object.keys(PICTURES)) {
    const [, k] = name.split("-"), empty = k === undefined ? !together(name === "norm" ? "grad_norm" : "loss").length : !chosenOf(k);
    stale.add(name);
    figureOf(name).classList.toggle("empty", empty);
    if (name.startsWith("heat") && !empty) standTall(name, chosenOf(k).names);
  }
  const { range, log } = scalesOf();
  drawLegend(range, log);
  drawStale();
};

// One step at a time is pointed at, in every picture.
const pointed = (step) => {
  state.step = step;
  Object.keys(frames).forEach(follow);
};
const follow = (name) => {
  const frame = frames[name], step = state.step;
  showCursor(frame, step);
  const overlaid = name === "loss" || name === "norm", summary = document.querySelector(`[data-summary="${name}"]`);
  const lines = overlaid ? frame.lines : frame.lines.filter((each) => each.name === state.layer);
  const when = step === null ? "" : state.clock ? duration(step) : `step ${Math.round(step).toLocaleString("en")}`;
  summary.textContent = step === null || !lines.length ? "" : `${when}: ` + lines.map(({ series, row, name: label }) => {
    const at = row * series.count + bucketAt(series, step);
    return `${label} ${between(series.low[at], series.high[at])}`;
  }).join("; ");
};

// Which run came out best, and what only one of them has.
const lastLoss = ({ scalars: { loss }, lost }) => (lost ? Infinity : loss?.count ? loss.high[loss.count - 1] : NaN);
const showVerdict = () => {
  if (known().length < 2) return;
  const ranked = known().map(({ view, k }) => ({ name: given.runs[k].name, loss: lastLoss(view) }))
    .sort((a, b) => (Number.isFinite(a.loss) ? a.loss : Infinity) - (Number.isFinite(b.loss) ? b.loss : Infinity));
  const codes = known().map(({ view }) => new Map(view.findings.filter(({ under }) => !under).map(({ code, name }) => [code, `${code} ${name}`])));
  const own = codes.map((each, k) => ({ k, found: [...each].filter(([code]) => !codes.some((other, l) => l !== k && other.has(code))).map(([, name]) => name) }));
  const losses = ranked.some(({ loss }) => !Number.isNaN(loss))
    ? `Loss at the end: ${ranked.map(({ name, loss }) => `${name} ${Number.isNaN(loss) ? "none" : loss === Infinity ? "diverged" : number(loss)}`).join(", ")}. ` : "";
  const only = own.filter(({ found }) => found.length).map(({ k, found }) => `Only ${given.runs[known()[k].k].name} has ${found.join(", ")}.`);
  const none = known().every(({ view }) => view.judged) ? "All have the same findings." : "";
  part("verdict").textContent = losses + (only.join(" ") || none);
};

const showOne = (k) => {
  const view = views[k];
  part(`facts-${k}`).textContent = view.facts.join(" · ");
  part(`findings-${k}`).replaceChildren(...view.findings.filter(({ under }) => !under).slice(0, 6).map((finding) => element("li", {},
    element("span", { className: `tone ${finding.severity}`, textContent: finding.severity }),
    element("b", { textContent: `${finding.code} ${finding.name}` }),
    finding.began === null ? "" : `, ${spanOf(finding)}`)));
};

for (const plot of document.querySelectorAll("[data-plot]")) {
  const name = plot.dataset.plot;
  const at = (event) => {
    const box = plot.getBoundingClientRect(), frame = frames[name], py = event.clientY - box.top, step = frame.stepAt(event.clientX - box.left);
    return [step, frame.rowAt ? frame.lines[frame.rowAt(py)] : nearestLine(frame, frame.lines, step, py)];
  };
  plot.addEventListener("pointermove", (event) => frames[name] && pointed(at(event)[0]));
  plot.addEventListener("click", (event) => {
    const line = frames[name] && at(event)[1];
    if (!line) return;
    state.layer = line.name === state.layer ? null : line.name;
    drawAll();
    keepInAddress();
  });
  plot.addEventListener("keydown", (event) => {
    if (!frames[name]) return;
    const [first, last] = frames[name].steps, stride = (last - first) / (event.shiftKey ? 10 : 100);
    const names = frames[name].lines.map((each) => each.name), here = names.indexOf(state.layer), now = state.step ?? last;
    const done = {
      ArrowLeft: () => pointed(Math.max(now - stride, first)), ArrowRight: () => pointed(Math.min(now + stride, last)),
      ArrowUp: () => { state.layer = names[Math.max(here - 1, 0)]; drawAll(); },
      ArrowDown: () => { state.layer = names[Math.min(here + 1, names.length - 1)]; drawAll(); },
      Escape: () => { state.layer = null; drawAll(); },
    }[event.key];
    if (!done) return;
    event.preventDefault();
    done();
  });
}
part("quantity").addEventListener("input", ({ target }) => { state.quantity = target.value; drawAll(); keepInAddress(); });
part("x").addEventListener("input", ({ target }) => { state.x = target.value; drawAll(); keepInAddress(); });
dark.addEventListener("change", drawAll);
let wide = document.body.clientWidth;
new ResizeObserver(() => {
  if (document.body.clientWidth === wide) return;
  wide = document.body.clientWidth;
  drawAll();
}).observe(document.body);

const busy = views.map(() => false);
const refresh = async (k) => {
  if (busy[k]) return;
  busy[k] = true;
  const answer = await fetch(given.urls.views[k]).catch(() => null);
  if (answer?.ok) {
    views[k] = opened(await answer.json());
    showOne(k);
    showVerdict();
    drawAll();
    document.documentElement.dataset.shown = known().length;
  }
  busy[k] = false;
};

let source = null;
const listen = () => {
  source = new EventSource(given.urls.events);
  source.addEventListener("state", ({ data }) => {
    const now = JSON.parse(data);
    given.runs.forEach(({ name }, k) => {
      part(`state-${k}`).className = `chip ${now[name].kind}`;
      part(`state-${k}`).textContent = now[name].message;
      if (now[name].version !== undefined && now[name].version !== views[k]?.version) refresh(k);
    });
  });
  source.addEventListener("error", () => source.readyState === EventSource.CLOSED && setTimeout(listen, 2000));
};
document.addEventListener("visibilitychange", () => {
  source?.close();
  if (document.visibilityState === "visible") listen();
});
listen();
watchScreen();
