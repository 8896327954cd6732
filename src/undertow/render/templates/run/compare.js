// Several runs at once: what they share is drawn over one another, the rest side by side on the same scales.
const state = { layer: null, logSteps: false, quantity: "speed", step: null };
const views = given.runs.map(() => null);

const known = () => views.map((view, k) => ({ view, k })).filter(({ view }) => view);
const stepsOfAll = () => {
  const all = known().map(({ view }) => view.steps);
  return [Math.min(...all.map(([first]) => first)), Math.max(...all.map(([, last]) => last))];
};

const together = (scalar) => known().filter(({ view }) => view.scalars[scalar]).map(({ view, k }) =>
  ({ series: view.scalars[scalar], row: 0, name: given.runs[k].name, colour: runColour(k) }));
const drawTogether = (name, scalar, log) => {
  const lines = together(scalar);
  if (!lines.length) return;
  const bent = log ?? logFits(lines), range = rangeOf(lines.map(({ series }) => series), bent);
  frames[name] = { ...drawLines(plotOf(name), lines, { log: bent, range, steps: stepsOfAll() }), lines };
};

const chosenOf = (k) => views[k]?.quantities[state.quantity];
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
  summary.textContent = step === null || !lines.length ? "" : `step ${Math.round(step).toLocaleString("en")}: ` + lines.map(({ series, row, name: label }) => {
    const at = row * series.count + bucketAt(series, step);
    return `${label} ${between(series.low[at], series.high[at])}`;
  }).join("; ");
};

const showOne = (k) => {
  const view = views[k];
  part(`facts-${k}`).textContent = view.facts.join(" · ");
  part(`findings-${k}`).replaceChildren(...view.findings.slice(0, 6).map((finding) => element("li", {},
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
part("quantity").addEventListener("input", ({ target }) => { state.quantity = target.value; drawAll(); });
part("log").addEventListener("input", ({ target }) => { state.logSteps = target.checked; drawAll(); });
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
