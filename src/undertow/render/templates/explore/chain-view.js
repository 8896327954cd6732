// Above: every factor as a bar, down where it shrinks a change and up where it makes it grow. Below: their product.
const BARS = 150, GAP = 54, PRODUCT = 170;
const LEFT = 44, RIGHT = 14, TOP = 30, BOTTOM = 34;

const decadesOf = (value) => Math.log10(Math.abs(value));

const ends = (values, low, high) => {
  const finite = values.filter(Number.isFinite);
  return [Math.floor(Math.min(low, ...finite)), Math.ceil(Math.max(high, ...finite))];
};

const bound = (rows, activation, peaks) => {
  let most = 1;
  return rows.map((row) => (most *= peaks[activation] * (row.j === 1 ? 1 : Math.abs(row.weight))));
};

const axis = (low, high, y, width, title) => [
  text(0, y(high) - 14, title, { fill: INK, "font-size": 13 }),
  ...powersOfTen(low, high, 4).flatMap((k) => [
    line(LEFT, y(k), width - RIGHT, y(k), k === 0 ? { stroke: INK } : {}),
    text(LEFT - 6, y(k) + 4, power(k), { "text-anchor": "end" }),
  ]),
];

const barsOf = (rows, x, y, low, step) =>
  rows.map((row) => {
    const size = decadesOf(row.factor), end = y(Math.max(size, low)), grows = size >= 0;
    const wide = Math.min(26, step * 0.7), top = Math.min(end, y(0)) - (grows ? 1 : 0);
    const name = row.j === 1 ? "φ′(z₁)" : `w${lowered(row.j)} φ′(z${lowered(row.j)})`;
    const bar = svg("rect", { x: x(row.j) - wide / 2, y: top, width: wide, height: Math.max(1.5, Math.abs(end - y(0))),
      fill: grows ? GROWING : FADING }, `<title>${name} = ${number(row.factor)}</title>`);
    const mark = grows ? text(x(row.j), end - 5, "▲", { "text-anchor": "middle", fill: GROWING, "font-size": 10 }) : "";
    const zero = row.factor === 0 ? text(x(row.j), y(low) - 4, "0", { "text-anchor": "middle", fill: "#fff" }) : "";
    return bar + mark + zero;
  });

const pathOf = (points) => points.map(([x, y], k) => `${k ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");

const productOf = (rows, most, x, y, low) => {
  const place = (row, value) => [x(row.j), y(Math.max(decadesOf(value), low))];
  const first = [x(0), y(0)];
  return [
    svg("path", { d: pathOf([first, ...rows.map((row, k) => place(row, most[k]))]), fill: "none", stroke: MUTED,
      "stroke-width": 1.5, "stroke-dasharray": "2 4" }),
    svg("path", { d: pathOf([first, ...rows.map((row) => place(row, row.product))]), fill: "none", stroke: INK, "stroke-width": 2 }),
    ...rows.map((row) => {
      const [cx, cy] = place(row, row.product);
      return svg("circle", { cx, cy, r: rows.length > 18 ? 2.5 : 3.5, fill: INK },
        `<title>after ${row.j} factor${row.j > 1 ? "s" : ""}: ${number(row.product)}</title>`);
    }),
  ];
};

const drawChain = (picture, rows, activation, peaks) => {
  const width = widthOf(picture), step = (width - LEFT - RIGHT) / (rows.length + 0.5);
  const x = (j) => LEFT + step * j, most = bound(rows, activation, peaks);
  const [low, high] = ends(rows.map((row) => decadesOf(row.factor)), -1, 1).map((d) => clamp(d, -8, 8));
  const [least, greatest] = ends([...rows.map((row) => decadesOf(row.product)), ...most.map(decadesOf)], -4, 1).map((d) => clamp(d, -60, 60));
  const y = scale(high, low, TOP, TOP + BARS), start = TOP + BARS + GAP;
  const below = scale(greatest, least, start, start + PRODUCT);
  const every = Math.ceil(28 / step);
  show(picture, width, start + PRODUCT + BOTTOM, [
    ...axis(low, high, y, width, "each factor"),
    ...barsOf(rows, x, y, low, step),
    ...axis(least, greatest, below, width, "their product so far: what is left of a change of b₁"),
    ...productOf(rows, most, x, below, least),
    ...rows.filter((row) => row.j === 1 || row.j % every === 0).map((row) =>
      text(x(row.j), start + PRODUCT + 16, row.j, { "text-anchor": "middle" })),
    text(width - RIGHT, start + PRODUCT + 32, "neuron", { "text-anchor": "end", fill: INK, "font-size": 13 }),
  ]);
};

const tellChain = (page, rows) => {
  const large = rows.filter((row) => Math.abs(row.factor) >= 1).length, last = rows.at(-1);
  tell(page.gradient, last.product);
  tell(page.typical, meanFactor(rows));
  tell(page.large, large, `${large} of ${rows.length}`);
  tell(page.ratio, Math.abs(rows[0].gradient / last.gradient));
  page.rows.innerHTML = rows.map((row) => {
    const cells = [row.weight, row.z, row.slope, row.factor, row.product, row.gradient];
    return `<tr><th scope="row">${row.j}</th>${cells.map((v) => `<td data-value="${v}">${number(v)}</td>`).join("")}</tr>`;
  }).join("");
};
