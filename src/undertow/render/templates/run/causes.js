// What the gradient loses and gains on its way back at one step, by cause.
const BAR = 22, MARGIN = { left: 168, right: 14, top: 26, bottom: 6 };
const causeColour = (cause) => (dark.matches ? `color-mix(in srgb, ${given.causes[cause]} 62%, white)` : given.causes[cause]);

const showCauses = () => {
  part("causes-step").textContent = stepView ? stepView.step.toLocaleString("en") : "–";
  part("sentence").textContent = stepView ? stepView.sentence : "No step was measured in full: what happens inside the model is not known.";
  part("chips").replaceChildren(...(stepView?.causes ?? []).map((cause) => {
    const swatch = element("i", { className: "swatch" });
    swatch.style.background = causeColour(cause);
    return element("span", {}, swatch, cause);
  }));
  if (part("table").open) showReadings();
};
const showReadings = () => {
  const cell = (name, value, extra = {}) => element(name, { textContent: value === null ? "–" : typeof value === "number" ? number(value) : value, ...extra });
  part("heading").replaceChildren(element("tr", {}, ...["layer", ...(stepView?.columns ?? [])].map((name) => cell("th", name, { scope: "col" }))));
  part("readings").replaceChildren(...(stepView?.readings ?? []).map(([name, ...values]) =>
    element("tr", {}, cell("th", name, { scope: "row" }), ...values.map((value) => cell("td", value)))));
};

const barsOf = (segment, causes) => {
  const named = causes.filter((cause) => cause !== "other causes"), rest = Object.entries(segment.causes).filter(([cause]) => !named.includes(cause));
  const all = Object.fromEntries(causes.map((cause) => [cause, segment.causes[cause] ?? 0]));
  if ("other causes" in all) all["other causes"] = rest.reduce((sum, [, decades]) => sum + decades, 0);
  return Object.entries(all).filter(([, decades]) => decades);
};
const summaryOf = (segment) => [`${segment.label}: × ${typeof segment.gain === "number" ? number(segment.gain) : segment.gain ?? "not a number"}`,
  ...Object.entries(segment.causes).map(([cause, decades]) => `${cause} × ${number(10 ** decades)}`)].join("\n");

const drawCauses = () => {
  const picture = part("bars"), rows = stepView?.segments ?? [];
  if (!rows.length) return;
  picture.setAttribute("aria-label", `Bars for ${rows.length} segments of the gradient’s way back, decades lost to the left and gained to the right. ${stepView.sentence} ` +
    rows.map((segment) => `${segment.label} × ${typeof segment.gain === "number" ? number(segment.gain) : segment.gain ?? "not a number"}`).join("; "));
  const width = widthOf(picture), left = width < 560 ? 104 : MARGIN.left;
  const parts = rows.map((segment) => barsOf(segment, stepView.causes));
  const sum = (sign) => Math.max(0.3, ...parts.map((each) => each.reduce((all, [, d]) => all + Math.max(sign * d, 0), 0)),
    ...rows.map(({ decades }) => sign * (decades ?? 0)));
  const x = scale(-sum(-1) * 1.04, sum(1) * 1.04, left, width - MARGIN.right), height = MARGIN.top + rows.length * BAR + MARGIN.bottom;
  const ticks = niceValues([-sum(-1), sum(1)]);
  show(picture, width, height, [
    ...ticks.map((value) => line(x(value), MARGIN.top - 4, x(value), height - MARGIN.bottom) +
      text(x(value), MARGIN.top - 10, number(value), { "text-anchor": "middle" })),
    ...rows.map((segment, k) => {
      const top = MARGIN.top + k * BAR, ends = { [-1]: 0, 1: 0 };
      const bars = parts[k].map(([cause, decades]) => {
        const sign = Math.sign(decades), from = x(ends[sign]), to = x(ends[sign] += decades);
        return svg("rect", { x: Math.min(from, to), y: top + 3, width: Math.abs(to - from), height: BAR - 6, style: `fill: ${causeColour(cause)}` });
      });
      const net = segment.decades === null ? "" : svg("circle", { cx: x(segment.decades), cy: top + BAR / 2, r: 4.5, fill: INK, stroke: "var(--paper)", "stroke-width": 1.5 });
      const name = text(left - 8, top + BAR / 2 + 4, escaped(elided(segment.label, left > 120 ? 22 : 13)), { "text-anchor": "end", fill: INK });
      return svg("g", {}, svg("rect", { x: 0, y: top, width, height: BAR, fill: "transparent" }) + name + bars.join("") + net + `<title>${escaped(summaryOf(segment))}</title>`);
    }),
    line(x(0), MARGIN.top - 4, x(0), height - MARGIN.bottom, { stroke: MUTED }),
  ]);
};
const stepViewCame = () => {
  showCauses();
  redraw("causes");
};
part("table").addEventListener("toggle", () => part("table").open && showReadings());
