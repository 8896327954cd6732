// Theory's map of full networks as colours, networks that were really trained as dots, and the usual starts as numbers.
const MOST = 4;
const PLACE = { left: 50, right: 14, top: 26, bottom: 68 };

const mapFrame = (picture, map) => {
  const width = widthOf(picture), height = Math.min(480, Math.max(340, Math.round(width * 0.6)));
  const { left, right, top, bottom } = PLACE;
  const x = scale(map.weight_var[0], map.weight_var.at(-1), left, width - right, Math.log);
  const y = scale(map.bias_var.at(-1), 0, top, height - bottom, Math.sqrt);
  return { width, height, x, y };
};

// Between the points of the grid, for the colours only.
const between = (values, wanted) => {
  let k = values.findIndex((value) => value > wanted) - 1;
  if (k < 0) k = wanted <= values[0] ? 0 : values.length - 2;
  return [k, clamp((wanted - values[k]) / (values[k + 1] - values[k]), 0, 1)];
};

const colours = (map, kind, layers) => {
  const wide = 200, tall = 120, across = map.weight_var.length, logs = Float64Array.from(map.maps[kind].chi, Math.log10);
  const columns = Array.from({ length: wide }, (_, c) =>
    between(map.weight_var, map.weight_var[0] * (map.weight_var.at(-1) / map.weight_var[0]) ** ((c + 0.5) / wide)));
  const rows = Array.from({ length: tall }, (_, r) =>
    between(map.bias_var, map.bias_var.at(-1) * (1 - (r + 0.5) / tall) ** 2));
  return painted(wide, tall, (c, r) => {
    const [i, s] = columns[c], [j, t] = rows[r], at = (di, dj) => logs[(j + dj) * across + i + di];
    const log = (1 - t) * ((1 - s) * at(0, 0) + s * at(1, 0)) + t * ((1 - s) * at(0, 1) + s * at(1, 1));
    return (layers * log) / 2 / MOST;
  });
};

const trainedShade = (accuracy, chance) => {
  const share = clamp((accuracy - chance) / (0.8 - chance), 0, 1);
  const mixed = [29, 33, 41].map((c) => Math.round(255 + (c - 255) * share));
  return `rgb(${mixed})`;
};

const dotsOf = (measured, kind, x, y, radius) => {
  const found = measured?.accuracy[kind];
  if (!found) return [];
  return measured.bias_var.flatMap((b, j) => measured.weight_var.map((w, i) => {
    const summary = `n · Var w = ${w}, Var b = ${b}: ${(100 * found[j][i]).toFixed(0)}\u00a0% right after training`;
    return svg("circle", { cx: x(w), cy: y(b), r: radius, fill: trainedShade(found[j][i], measured.chance), stroke: INK, "stroke-width": 1.2 },
      `<title>${summary}</title>`);
  }));
};

const starts = (map, x, y) =>
  map.starts.map(({ weight_var: w, bias_var: b }, k) => {
    const cx = x(w), cy = y(b) + (b ? -18 : 22);
    return line(cx, y(b), cx, cy, { stroke: INK }) + svg("circle", { cx, cy, r: 8.5, fill: INK }) +
      text(cx, cy + 4, k + 1, { "text-anchor": "middle", fill: "#fff", "font-weight": 600 });
  });

const drawMap = (picture, map, state, measured) => {
  const { width, height, x, y } = mapFrame(picture, map), { left, right, top, bottom } = PLACE;
  const critical = map.critical[state.kind].map(([w, b]) => [x(w), y(b)]);
  const at = readAt(map, state), edge = height - bottom;
  show(picture, width, height, [
    svg("image", { href: colours(map, state.kind, state.layers), x: left, y: top, width: width - left - right, height: edge - top, preserveAspectRatio: "none" }),
    ...(critical.length > 1 ? [svg("path", { d: pathOf(critical), fill: "none", stroke: INK, "stroke-width": 2 }),
      text(critical.at(-1)[0] + 8, Math.max(critical.at(-1)[1], top) + 16, "χ₁ = 1", { fill: INK, "font-size": 13 })] : []),
    ...(critical.length === 1 ? [svg("circle", { cx: critical[0][0], cy: critical[0][1], r: 4, fill: INK })] : []),
    ...[0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 40].map((w) => text(x(w), edge + 46, w, { "text-anchor": "middle" })),
    ...[0, 0.1, 0.5, 1, 2].map((b) => text(left - 12, y(b) + 4, b, { "text-anchor": "end" })),
    text(width - right, height - 5, "n · Var w: weights, times inputs n", { "text-anchor": "end", fill: INK, "font-size": 13 }),
    text(0, 13, "Var b: biases", { fill: INK, "font-size": 13 }),
    ...(state.trained ? dotsOf(measured, state.kind, x, y, width < 500 ? 4 : 5.5) : []),
    ...starts(map, x, y),
    svg("circle", { cx: x(at.weightVar), cy: y(at.biasVar), r: 10, fill: "none", stroke: "#fff", "stroke-width": 6 }),
    svg("circle", { cx: x(at.weightVar), cy: y(at.biasVar), r: 10, fill: "none", stroke: INK, "stroke-width": 2.5 }),
  ]);
};

const tellMap = (page, map, state, measured) => {
  const at = readAt(map, state), lost = -at.decades;
  tell(page.chi, at.chi);
  tell(page.perLayer, at.factor);
  tell(page.qStar, at.q);
  tell(page.decades, at.decades, `${number(Math.abs(at.decades))} ${lost > 0.005 ? "lost" : lost < -0.005 ? "gained" : "either way"}`);
  page.phase.textContent = phaseOf(at);
  const found = measured?.accuracy[state.kind];
  if (!found) return void (page.trained.textContent = "none of these were trained");
  const i = nearest(measured.weight_var, at.weightVar, Math.log), j = nearest(measured.bias_var, at.biasVar, Math.sqrt);
  tell(page.trained, found[j][i], `${(100 * found[j][i]).toFixed(0)}\u00a0% right (at ${measured.weight_var[i]}, ${measured.bias_var[j]})`);
};
