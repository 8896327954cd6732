// The plane of a and w, coloured by |w φ'(w a + b)|, and how wide the window above 1 is for each w.
const A_END = 2, W_END = 16, CELLS = 161;
const FIELD = { left: 40, right: 12, top: 26, bottom: 40 };

const factorAt = (activation, w, a, b) => Math.abs(w * ACTIVATIONS[activation].slope(w * a + b));

const fieldOf = (activation, b) => {
  const at = (k, end) => -end + (2 * end * k) / (CELLS - 1);
  const field = new Float64Array(CELLS * CELLS);
  for (let r = 0; r < CELLS; r++) {
    for (let c = 0; c < CELLS; c++) field[r * CELLS + c] = factorAt(activation, at(CELLS - 1 - r, W_END), at(c, A_END), b);
  }
  return field;
};

// Marching squares: in every cell the straight piece of the line at 1.
const outline = (field, x, y) => {
  const pieces = [];
  const meets = (r, c, s, d) => {
    const here = Math.log(field[r * CELLS + c] + 1e-12), there = Math.log(field[s * CELLS + d] + 1e-12);
    if (here >= 0 === there >= 0) return null;
    const share = here / (here - there);
    return [x(c + share * (d - c)), y(r + share * (s - r))];
  };
  for (let r = 0; r < CELLS - 1; r++) {
    for (let c = 0; c < CELLS - 1; c++) {
      const met = [meets(r, c, r, c + 1), meets(r, c + 1, r + 1, c + 1), meets(r + 1, c + 1, r + 1, c), meets(r + 1, c, r, c)]
        .filter(Boolean);
      for (let k = 0; k + 1 < met.length; k += 2) pieces.push(pathOf([met[k], met[k + 1]]));
    }
  }
  return pieces.join("");
};

// White at 1; what shrinks fades over two decades, what grows over one.
const shade = (factor) => {
  const decades = Math.log10(factor + 1e-12);
  return decades < 0 ? decades / 2 : decades;
};

const regionFrame = (picture) => {
  const width = widthOf(picture), height = Math.min(400, Math.max(280, Math.round(width * 0.8)));
  const { left, right, top, bottom } = FIELD;
  return { width, height, x: scale(-A_END, A_END, left, width - right), y: scale(W_END, -W_END, top, height - bottom) };
};

const drawRegion = (picture, state, rows) => {
  const { width, height, x, y } = regionFrame(picture);
  const [{ weight: w, bias: b, input: a }, ...others] = rows;
  const field = fieldOf(state.activation, b);
  const image = painted(CELLS, CELLS, (c, r) => shade(field[r * CELLS + c]));
  const column = scale(0, CELLS - 1, x(-A_END), x(A_END)), row = scale(0, CELLS - 1, y(W_END), y(-W_END));
  const shown = windowOf(state.activation, w, b)?.map((end) => clamp(end, -A_END, A_END));
  const inside = state.random ? [] : others.filter((r) => Math.abs(r.input) <= A_END);
  show(picture, width, height, [
    svg("image", { href: image, x: x(-A_END), y: y(W_END), width: x(A_END) - x(-A_END), height: y(-W_END) - y(W_END), preserveAspectRatio: "none" }),
    svg("path", { d: outline(field, column, row), fill: "none", stroke: INK, "stroke-width": 1.5 }),
    ...[-2, -1, 0, 1, 2].map((v) => text(x(v), height - 22, signed(String(v)), { "text-anchor": "middle" })),
    ...[-16, -8, 0, 8, 16].map((v) => text(FIELD.left - 6, y(v) + 4, signed(String(v)), { "text-anchor": "end" })),
    text(width - FIELD.right, height - 5, "activation a that comes in", { "text-anchor": "end", fill: INK, "font-size": 13 }),
    text(0, 13, "weight w", { fill: INK, "font-size": 13 }),
    ...(shown && shown[1] > shown[0] ? [line(x(shown[0]), y(w), x(shown[1]), y(w), { stroke: INK, "stroke-width": 5 })] : []),
    ...inside.map((r) => svg("circle", { cx: x(r.input), cy: y(r.weight), r: 3, fill: INK, "fill-opacity": 0.55 },
      `<title>neuron ${r.j}</title>`)),
    svg("circle", { cx: x(a), cy: y(clamp(w, -W_END, W_END)), r: 8, fill: "#fff", "fill-opacity": 0.7, stroke: INK, "stroke-width": 2.5 }),
  ]);
};

const widthsOf = new Map();
const widthsFor = (activation) => {
  if (!widthsOf.has(activation)) {
    const sizes = Array.from({ length: 161 }, (_, k) => (k * W_END) / 160);
    widthsOf.set(activation, sizes.map((w) => {
      const found = windowOf(activation, w, 0);
      return [w, found ? found[1] - found[0] : 0];
    }));
  }
  return widthsOf.get(activation);
};

const drawWidths = (picture, state, [{ weight }]) => {
  const size = Math.min(Math.abs(weight), W_END);
  const width = widthOf(picture), height = Math.min(400, Math.max(200, Math.round(width * 0.8)));
  const { left, right, top, bottom } = FIELD, curve = widthsFor(state.activation);
  const most = Math.max(0.5, ...curve.map(([, wide]) => wide).filter(Number.isFinite));
  const high = Math.ceil(most * 4) / 4;
  const x = scale(0, W_END, left, width - right), y = scale(0, high, height - bottom, top);
  const finite = curve.filter(([, wide]) => Number.isFinite(wide)), endless = curve.find(([, wide]) => wide === Infinity);
  const found = windowOf(state.activation, weight, 0), here = found ? found[1] - found[0] : 0;
  show(picture, width, height, [
    text(0, 13, "width of the window", { fill: INK, "font-size": 13 }),
    ...[0, high / 2, high].flatMap((v) => [line(left, y(v), width - right, y(v)), text(left - 6, y(v) + 4, number(v), { "text-anchor": "end" })]),
    ...[0, 4, 8, 12, 16].map((w) => text(x(w), height - 22, w, { "text-anchor": "middle" })),
    text(width - right, height - 5, "|w|", { "text-anchor": "end", fill: INK, "font-size": 13 }),
    svg("path", { d: pathOf(finite.map(([w, wide]) => [x(w), y(wide)])), fill: "none", stroke: GROWING, "stroke-width": 2 }),
    endless ? svg("rect", { x: x(endless[0]), y: top, width: x(W_END) - x(endless[0]), height: y(0) - top, fill: GROWING, "fill-opacity": 0.15 }) +
      text((x(endless[0]) + x(W_END)) / 2, (top + y(0)) / 2, "without end", { "text-anchor": "middle", fill: INK }) : "",
    line(x(size), top, x(size), y(0), { stroke: INK, "stroke-dasharray": "3 3" }),
    Number.isFinite(here) ? svg("circle", { cx: x(size), cy: y(here), r: 5, fill: "#fff", stroke: INK, "stroke-width": 2.5 }) : "",
  ]);
};

const tellRegion = (page, state, [{ weight, bias, input }], widest) => {
  const found = windowOf(state.activation, weight, bias), [size, most] = widest[state.activation];
  tell(page.factor, factorAt(state.activation, weight, input, bias));
  tell(page.low, found ? found[0] : NaN, found ? number(found[0]) : "–");
  tell(page.high, found ? found[1] : NaN, found ? number(found[1]) : "–");
  tell(page.width, found ? found[1] - found[0] : 0);
  page.widest.textContent = most === null ? `without end, from |w| = ${number(size)} on` : `${number(most)}, at |w| = ${number(size)}`;
};
