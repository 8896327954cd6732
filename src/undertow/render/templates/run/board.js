// One state; every control writes to it, every picture is drawn from it.
const sent = address.read();
const state = {
  place: 0, layer: sent.layer ?? null, x: sent.x ?? "steps", quantity: sent.quantity ?? "speed", extreme: sent.extreme ?? "high",
  scalar: sent.scalar ?? null, smooth: clamp(Number(sent.smooth) || 0, 0, 0.98), zoom: null, clock: null, following: true,
};
let view = null, stepView = null;
let loaded = false; // what is shown at first needs no address
addEventListener("load", () => (loaded = true));
const keepInAddress = () => loaded && address.write({
  step: state.following ? null : stepNow(), layer: state.layer, x: state.x === "steps" ? null : state.x,
  quantity: state.quantity === "speed" ? null : state.quantity, extreme: state.extreme === "high" ? null : state.extreme,
  scalar: state.scalar === otherScalars()[0] ? null : state.scalar, smooth: state.smooth || null,
  from: state.zoom && Math.round(state.zoom[0]), to: state.zoom && Math.round(state.zoom[1]),
});

// On a saved page the slider stops where the causes are in the page; on a live one, at every taped step.
const stops = () => (given.stepViews ? given.stepViews.map(({ step }) => step) : view.taped);
const stepNow = () => stops()[state.place] ?? null;

const remedyOf = ({ advice, snippet, code, where, message }) => {
  const copy = element("button", { type: "button", className: "copy", textContent: "Copy" });
  const lines = snippet && element("div", { className: "snippet" }, element("pre", { tabIndex: 0 }, element("code", { textContent: snippet })), copy);
  const place = where && !message.includes(where) ? `at ${where} · ` : "";
  const more = element("p", { className: "where" }, `${place}more: `, element("code", { textContent: `undertow rule ${code}` }));
  return [...(advice ? [element("p", { className: "advice", textContent: advice })] : []), ...(lines ? [lines] : []), more];
};
const findingOf = (finding, unfolded, following = []) => {
  const span = spanOf(finding);
  const when = span && element("button", { type: "button", className: "began", textContent: span });
  if (when) when.addEventListener("click", () => goTo(finding.began));
  const fold = (title, ...inside) => element("details", {}, element("summary", { textContent: title }), ...inside);
  const remedy = unfolded ? remedyOf(finding) : [fold(finding.advice || finding.snippet ? "What to do" : "More", ...remedyOf(finding))];
  const names = [...new Set(following.map(({ code, name }) => `${code} ${name}`))].join("; ");
  const beneath = following.length
    ? [fold(`From it follow${names.includes(";") ? "" : "s"}: ${names}`, element("ul", { className: "findings" }, ...following.map((each) => findingOf(each, false))))] : [];
  return element("li", {}, element("span", { className: `tone ${finding.severity}`, textContent: finding.severity }),
    element("b", { textContent: `${finding.code} ${finding.name}` }), " ", when,
    element("p", { textContent: finding.message }), ...remedy, ...beneath);
};
const showFindings = () => {
  const open = [...part("findings").querySelectorAll("details")].map((each) => each.open), heads = view.findings.filter(({ under }) => !under);
  const rows = heads.map((head, k) => findingOf(head, k === 0, view.findings.filter(({ under }) => under === head.code && k === heads.findIndex(({ code }) => code === under))));
  const nothing = !view.taped.length && !Object.keys(view.scalars).length;
  const none = element("p", { textContent: nothing ? view.nothing : view.judged ? "Nothing wrong was found." : "Nothing has been judged yet." });
  part("findings").replaceChildren(rows.length ? element("ul", { className: "findings" }, ...rows) : none);
  const now = [...part("findings").querySelectorAll("details")];
  if (now.length === open.length) now.forEach((each, k) => (each.open = open[k]));
};

const showHead = () => {
  part("facts").textContent = view.facts.join(" · ");
  part("recorded").textContent = view.recorded.join(" · ");
  part("usual").textContent = usualOf(...Object.values(view.quantities));
  part("hidden").replaceChildren(...view.unseen.map((sentence) => element("p", { textContent: `Not seen: ${sentence}` })));
  part("meta").replaceChildren(...view.meta.map(([name, value]) =>
    element("div", {}, element("dt", { textContent: name }), element("dd", { textContent: value }))));
};

const showEvents = () => {
  part("events").replaceChildren(...view.events.map(({ step, kind, message }) =>
    element("li", {}, element("b", { textContent: `step ${step.toLocaleString("en")}, ${kind}` }), ` ${message}`)));
};

const namesOf = (key) => view.quantities[key]?.names ?? [];
const allNames = () => [...new Set(Object.keys(view.quantities).flatMap(namesOf))];

const linesOf = (key) => {
  const series = view.quantities[key], names = namesOf(key);
  return names.map((name, row) => ({ series, row, name, colour: depthColour(row, names.length) }));
};
const QUIET = ["governor", "finding"];
const marks = () => [
  ...view.events.filter(({ kind }) => !QUIET.includes(kind)).map(({ step, kind, message }) => ({ step, severity: "event", message: `step ${step}: ${message || kind}` })),
  ...view.findings.filter(({ began }) => began !== null).map((finding) =>
    ({ step: finding.began, severity: finding.severity, message: `${finding.code} ${finding.name}: ${spanOf(finding)}` })),
];

const LOSS_ABOUT = part("loss-about").textContent;
// A run that diverged early is shown up to there and a little on, so that what was finite fills the picture.
const lostFrom = () => view.lost?.last_finite_step ?? null;
const untilLost = () => {
  const [first, last] = view.steps, end = lostFrom();
  return end !== null && (end - first) * 3 < last - first ? [first, Math.min(last, end + Math.max(2, Math.ceil((end - first) / 4)))] : null;
};
const lossNames = () => Object.keys(view.scalars).filter((name) => name === "loss" || name.startsWith("loss/"));
const lossLines = () => scalarLines(...lossNames()).map((line, k) =>
  ({ ...line, name: view.losses[line.name] ? `${line.name} (${view.losses[line.name]})` : line.name, colour: runColour(k) }));
const scalarLines = (...names) => names.filter((name) => view.scalars[name]).map((name) =>
  ({ series: view.scalars[name], row: 0, name, colour: name.endsWith("_unclipped") ? "#8d96a3" : runColour(0) }));
const drawn = (name, lines, options) => {
  if (!lines.length) return;
  const range = options.range ?? rangeOf([...new Set(lines.map(({ series }) => series))], options.log, state.zoom);
  frames[name] = { ...drawLines(plotOf(name), lines, { steps: shownSteps(), ...options, range }), lines };
  describe(plotOf(name), titleOf(name), lines);
};

const titleOf = (name) => document.querySelector(`[data-part="${name}-title"]`)?.textContent ?? name;
// What healthy networks show, beside what is measured.
const usualOf = (...all) => all.filter(({ usual }) => usual).map(({ title, usual }) => `${title}: ${usual}`).join("; ").replace(/^/, "Usual values: ");
const aboutOf = ({ meaning, usual }) => meaning + (usual ? ` Usual: ${usual}.` : "");
const GUIDES = { update: [[1e-3, "usual: 0.001"]] };
const drawQuantity = (key) => {
  const about = view.quantities[key];
  if (about) part(`${key}-about`).textContent = aboutOf(about);
  const range = about && !about.log ? [0, 1] : undefined;
  drawn(key, linesOf(key), { log: about?.log, range, guides: GUIDES[key] });
};

const SHOWN_ELSEWHERE = ["loss", "grad_norm", "grad_norm_unclipped"];
const otherScalars = () => Object.keys(view.scalars).filter((name) => !SHOWN_ELSEWHERE.includes(name) && !name.startsWith("loss/"));

const drawMap = () => {
  const about = view.quantities[state.quantity];
  if (!about) return;
  part("extreme").parentElement.hidden = about.low === about.high;
  part("heat-title").textContent = about.title;
  part("heat-about").textContent = aboutOf(about);
  const range = about.log ? rangeOf([about], true) : [0, 1];
  frames.heat = { ...drawHeat(plotOf("heat"), about.names, about, { log: about.log, range, steps: shownSteps(), extreme: state.extreme }),
    lines: linesOf(state.quantity) };
  describe(plotOf("heat"), `${about.title}, a row for each layer, by colour`, linesOf(state.quantity));
  drawLegend(range, about.log);
};

const drawScalar = () => {
  const lines = state.scalar ? scalarLines(state.scalar) : [];
  part("scalar-title").textContent = state.scalar ? given.scalars[state.scalar] ?? state.scalar : "Noted besides";
  drawn("scalar", lines, { log: logFits(lines), smooth: state.smooth });
};
const PICTURES = {
  loss: () => {
    const loss = lossLines();
    part("loss-about").textContent = (lostFrom() === null ? "" : `Not a finite number after step ${lostFrom().toLocaleString("en")}. `) + LOSS_ABOUT;
    drawn("loss", loss, { log: logFits(loss), marks: marks(), smooth: state.smooth, lost: lostFrom() });
  },
  norm: () => drawn("norm", scalarLines("grad_norm_unclipped", "grad_norm"), { log: true, smooth: state.smooth }),
  scalar: drawScalar,
  ...Object.fromEntries(["speed", "progress", "update", "saturated", "dead"].map((key) => [key, () => drawQuantity(key)])),
  heat: drawMap,
  causes: () => drawCauses(),
};
const isEmpty = (name) => ({
  loss: () => !lossNames().length, norm: () => !scalarLines("grad_norm_unclipped", "grad_norm").length,
  scalar: () => !state.scalar, heat: () => !state.quantity, causes: () => !stepView?.segments.length,
}[name] ?? (() => !view.quantities[name]))();

const redraw = (...names) => {
  for (const name of names) {
    stale.add(name);
    figureOf(name).classList.toggle("empty", isEmpty(name));
    if (name === "heat") standTall("heat", namesOf(state.quantity));
  }
  drawStale();
};

const drawRamp = () => {
  const bar = element("i", { className: "scale" });
  bar.style.background = `linear-gradient(90deg, ${[0, 1, 2, 3, 4].map((k) => depthColour(k, 5))})`;
  part("ramp").replaceChildren("input’s side", bar, "loss’s side");
};
const drawAll = () => {
  part("whole").hidden = !state.zoom;
  drawRamp();
  redraw(...Object.keys(PICTURES));
};

const offer = () => {
  const keys = Object.keys(view.quantities), others = otherScalars();
  if (!keys.includes(state.quantity)) state.quantity = keys[0] ?? null;
  if (!others.includes(state.scalar)) state.scalar = others[0] ?? null;
  filled(part("quantity"), keys.map((key) => [key, view.quantities[key].title]), state.quantity);
  filled(part("scalar"), others.map((name) => [name, given.scalars[name] ?? name]), state.scalar);
  filled(part("extreme"), [["high", "the largest"], ["low", "the smallest"]], state.extreme);
  if (state.layer && !allNames().includes(state.layer)) state.layer = null;
  part("smoothed").textContent = state.smooth ? state.smooth.toFixed(2) : "off";
  part("smooth").value = state.smooth;
  offerAlong();
  filled(part("layer"), [["", "all"], ...allNames().map((name) => [name, name])], state.layer ?? "");
};

// What follows the step: cursors, and the summary under every plot.
const moved = () => {
  const step = stepNow();
  part("at").textContent = step === null ? "–" : step.toLocaleString("en");
  part("slider").setAttribute("aria-valuetext", step === null ? "no step was measured in full" : `step ${step}`);
  Object.keys(frames).forEach(follow);
};
const follow = (name) => {
  const frame = frames[name], step = stepNow();
  showCursor(frame, step);
  summarize(name, step, frame.lines.find((each) => each.name === state.layer) ?? (frame.lines.length === 1 ? frame.lines[0] : null));
};
const summarize = (name, step, chosen) => {
  const summary = document.querySelector(`[data-summary="${name}"]`);
  if (step === null || !chosen) return void (summary.textContent = "");
  const { series, row } = chosen, bucket = bucketAt(series, step), at = row * series.count + bucket;
  const [first, last] = [series.first[bucket], series.last[bucket]].map((each) => each.toLocaleString("en"));
  summary.textContent = `${chosen.name}, step${first === last ? "" : "s"} ${first}${first === last ? "" : ` to ${last}`}: ` +
    between(series.low[at], series.high[at]);
};

const goTo = (step) => {
  const all = stops();
  if (!all.length) return;
  move(nearestPlace(all, step));
};
const move = (place) => {
  const most = stops().length - 1;
  state.place = clamp(place, 0, Math.max(most, 0));
  state.following = state.place === most;
  part("slider").value = state.place;
  moved();
  wantStepView();
  keepInAddress();
};
const choose = (name) => {
  state.layer = name || null;
  part("layer").value = state.layer ?? "";
  drawAll();
  keepInAddress();
};

const shown = (data) => {
  const first = view === null;
  view = opened(data);
  state.clock = view.clock;
  const most = Math.max(stops().length - 1, 0);
  part("slider").max = most;
  part("slider").disabled = !stops().length;
  if (first && sent.step !== undefined && stops().length) {
    state.place = nearestPlace(stops(), Number(sent.step));
    state.following = false;
  }
  if (first) state.zoom = Number(sent.to) > Number(sent.from) ? [Number(sent.from), Number(sent.to)] : untilLost();
  if (first && sent.step === undefined && stops().length && lostFrom() !== null) {
    state.place = nearestPlace(stops(), lostFrom());
    state.following = state.place === most;
  }
  if (state.following) state.place = most;
  part("slider").value = state.place;
  offer();
  showHead();
  showFindings();
  if (part("happened").open) showEvents();
  drawAll();
  moved();
  wantStepView();
  document.documentElement.dataset.shown = String(view.version ?? 0);
};

for (const [name, key] of [["quantity", "quantity"], ["extreme", "extreme"]]) {
  part(name).addEventListener("input", ({ target }) => { state[key] = target.value; redraw("heat"); keepInAddress(); });
}
part("scalar").addEventListener("input", ({ target }) => { state.scalar = target.value; redraw("scalar"); keepInAddress(); });
part("slider").addEventListener("input", ({ target }) => move(Number(target.value)));
part("layer").addEventListener("input", ({ target }) => choose(target.value));
part("x").addEventListener("input", ({ target }) => { state.x = target.value; drawAll(); keepInAddress(); });
part("smooth").addEventListener("input", ({ target }) => {
  state.smooth = Number(target.value);
  part("smoothed").textContent = state.smooth ? state.smooth.toFixed(2) : "off";
  redraw("loss", "norm", "scalar");
  keepInAddress();
});

for (const plot of document.querySelectorAll("[data-plot]")) {
  const name = plot.dataset.plot, heat = name === "heat";
  const at = (event) => {
    const box = plot.getBoundingClientRect(), frame = frames[name];
    const py = event.clientY - box.top, step = frame.stepAt(event.clientX - box.left);
    return [step, heat ? frame.lines[frame.rowAt(py)] : nearestLine(frame, frame.lines, step, py)];
  };
  plot.addEventListener("pointermove", (event) => frames[name] && summarize(name, ...at(event)));
  plot.addEventListener("pointerleave", () => frames[name] && moved());
  plot.addEventListener("click", (event) => {
    if (!frames[name] || dragged) return;
    const [step, line] = at(event);
    goTo(step);
    if (line && frames[name].lines.length > 1) choose(line.name === state.layer ? null : line.name);
  });
  plot.addEventListener("keydown", (event) => {
    const names = (frames[name]?.lines ?? []).map((each) => each.name), here = names.indexOf(state.layer);
    const far = event.shiftKey ? 10 : 1;
    const done = {
      ArrowLeft: () => move(state.place - far), ArrowRight: () => move(state.place + far),
      Home: () => move(0), End: () => move(Infinity),
      ArrowUp: () => names.length > 1 && choose(names[Math.max(here - 1, 0)]),
      ArrowDown: () => names.length > 1 && choose(names[Math.min(here + 1, names.length - 1)]),
      Escape: () => choose(null), "+": () => zoomBy(0.5), "=": () => zoomBy(0.5), "-": () => zoomBy(2), 0: () => zoomTo(...view.steps),
    }[event.key];
    if (!done) return;
    event.preventDefault();
    done();
  });
}
let wide = 0;
new ResizeObserver(() => {
  if (document.body.clientWidth === wide || !view) return;
  wide = document.body.clientWidth;
  drawAll();
}).observe(document.body);
dark.addEventListener("change", () => view && drawAll());
part("happened").addEventListener("toggle", () => view && showEvents());
watchScreen();
