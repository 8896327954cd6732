// A plot is a canvas for the data under an SVG for axes and marks: a canvas draws ten thousand points at once,
// and what is pointed at moves without drawing them again.
const escaped = (name) => String(name).replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
const elided = (name, most) => (name.length <= most ? name : `…${name.slice(1 - most)}`);

const dark = matchMedia("(prefers-color-scheme: dark)");
const RAMP = {
  light: [[6, 48, 74], [75, 15, 180], [138, 61, 146], [213, 58, 82], [201, 128, 15]],
  dark: [[117, 196, 255], [166, 150, 255], [226, 134, 214], [255, 134, 120], [240, 190, 80]],
};
const HEAT = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
const NOT_FINITE = [224, 36, 60];
const RUNS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7"], RUNS_DARK = ["#4fb3f0", "#ff8c3a", "#2fc79c", "#eda3cf"];

const mixed = (anchors, share) => {
  const place = clamp(share, 0, 1) * (anchors.length - 1), k = Math.min(Math.floor(place), anchors.length - 2);
  return anchors[k].map((c, i) => Math.round(c + (anchors[k + 1][i] - c) * (place - k)));
};
const depthColour = (row, rows) => `rgb(${mixed(dark.matches ? RAMP.dark : RAMP.light, rows > 1 ? row / (rows - 1) : 0)})`;
const runColour = (k) => (dark.matches ? RUNS_DARK : RUNS)[k % RUNS.length];

const PAD = { left: 62, right: 12, top: 8, bottom: 22 };

// Where a plot stands: its size, and the scales of both axes.
const frameOf = (plot, steps, range, log, pad = PAD) => {
  const width = Math.max(260, Math.round(plot.clientWidth)), height = Math.round(plot.clientHeight);
  const bend = bendOf(steps), end = steps[1] > steps[0] ? steps[1] : steps[0] + 1;
  const x = scale(steps[0], end, pad.left, width - pad.right, bend.to);
  const y = range && scale(range[0], range[1], height - pad.bottom, pad.top, log ? Math.log10 : undefined);
  const stepAt = (px) => {
    const share = clamp((px - pad.left) / (width - pad.left - pad.right), 0, 1), [low, high] = [bend.to(steps[0]), bend.to(end)];
    return bend.from(low + share * (high - low));
  };
  return { plot, width, height, x, y, stepAt, steps: [steps[0], end], range, log, pad };
};

const canvasOf = ({ plot, width, height }) => {
  const canvas = plot.querySelector("canvas"), ratio = devicePixelRatio || 1, context = canvas.getContext("2d");
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  context.scale(ratio, ratio);
  return context;
};

const niceSteps = ([low, high], most) => {
  const rough = (high - low) / most, size = 10 ** Math.floor(Math.log10(rough));
  const stride = Math.max(1, [1, 2, 5, 10].map((k) => k * size).find((each) => each >= rough));
  const first = Math.ceil(low / stride);
  return Array.from({ length: Math.max(0, Math.floor(high / stride) - first + 1) }, (_, k) => (first + k) * stride);
};
const logSteps = ([low, high]) => [low, ...Array.from({ length: 12 }, (_, k) => low + 10 ** k).filter((step) => step <= high)];

const stepAxis = ({ x, width, height, steps, pad }) => {
  const most = Math.max(2, Math.floor((width - pad.left) / 90)), timed = state.x === "time" && state.clock;
  const at = timed ? timeTicks(steps.map(state.clock.at), most).map((seconds) => [state.clock.stepAt(seconds), duration(seconds)])
    : (state.x === "early" ? logSteps(steps) : niceSteps(steps, most)).map((step) => [step, step.toLocaleString("en")]);
  let free = -Infinity;
  return at.map(([step, label]) => {
    const half = label.length * 3.6, place = clamp(x(step), pad.left, width - half - 1);
    const tick = line(x(step), height - pad.bottom, x(step), height - pad.bottom + 4, { stroke: MUTED });
    if (place - half < free) return tick;
    free = place + half + 8;
    return tick + text(place, height - 5, label, { "text-anchor": "middle" });
  });
};

const valueAxis = ({ y, width, range, log, pad }) => {
  if (!range) return [];
  const [low, high] = range, exponents = log ? powersOfTen(Math.ceil(Math.log10(low)), Math.floor(Math.log10(high)), 5) : [];
  const at = exponents.length ? exponents.map((k) => [10 ** k, power(k)]) : log
    ? [low * 1.2, high / 1.2].map((value) => [value, number(Number(value.toPrecision(2)))])
    : niceValues(range).map((value) => [value, number(value)]);
  return at.map(([value, label]) =>
    line(pad.left, y(value), width - pad.right, y(value)) + text(pad.left - 6, y(value) + 4, label, { "text-anchor": "end" }));
};
const niceValues = ([low, high]) => {
  const rough = (high - low) / 4, size = 10 ** Math.floor(Math.log10(rough));
  const stride = [1, 2, 5, 10].map((k) => k * size).find((each) => each >= rough);
  const first = Math.ceil(low / stride - 1e-9);
  return Array.from({ length: Math.max(0, Math.floor(high / stride + 1e-9) - first + 1) }, (_, k) =>
    Number(((first + k) * stride).toPrecision(12)));
};

// One series: a line through the middle of its buckets, and the band between their extremes. Of many series bands would
// hide each other (and take long to paint): then only extremes that lie far apart are drawn, each as an upright line.
const TALL = 14;
const strokeBand = (context, frame, series, row, colour, width, alpha, many) => {
  const { x, y, range, log } = frame, { first, last, low, high, count } = series, from = row * count, banded = low !== high;
  const at = (k) => x((first[k] + last[k]) / 2);
  const top = (k) => y(clamp(high[from + k], ...range));
  const foot = (k) => (isShown(low[from + k], log) ? y(clamp(low[from + k], ...range)) : y(range[0]));
  context.strokeStyle = context.fillStyle = colour;
  context.lineWidth = width;
  context.lineJoin = "bevel";
  for (let start = 0; start < count; start++) {
    if (!isShown(high[from + start], log)) continue;
    let end = start;
    while (end < count && isShown(high[from + end], log)) end++;
    if (banded && many) {
      context.globalAlpha = alpha * 0.6;
      for (let k = start; k < end; k++) {
        if (foot(k) - top(k) > TALL) context.fillRect(at(k) - 0.5, top(k), 1, foot(k) - top(k));
      }
    } else if (banded) {
      context.beginPath();
      for (let k = start; k < end; k++) context.lineTo(at(k), top(k) - 0.5);
      for (let k = end - 1; k >= start; k--) context.lineTo(at(k), foot(k) + 0.5);
      context.globalAlpha = alpha * 0.3;
      context.fill();
    }
    context.globalAlpha = alpha;
    context.beginPath();
    for (let k = start; k < end; k++) context.lineTo(at(k), (top(k) + foot(k)) / 2);
    if (end - start === 1) context.fillRect(at(start) - 1.5, (top(start) + foot(start)) / 2 - 1.5, 3, 3);
    else context.stroke();
    start = end;
  }
  context.globalAlpha = 1;
};

const marksOf = ({ x, height, pad }, marks) =>
  marks.map(({ step, severity, message }) => {
    const at = x(step), top = pad.top;
    return svg("g", { class: `mark ${severity}` },
      svg("path", { d: `M${at} ${height - pad.bottom}V${top}`, "stroke-dasharray": "3 3", fill: "none" }) +
      svg("path", { d: `M${at - 5} ${top - 6}h10l-5 8z`, class: "flag" }) + `<title>${escaped(message)}</title>`);
  });

const showAxes = (frame, more = []) => {
  const picture = frame.plot.querySelector("svg");
  show(picture, frame.width, frame.height, [...valueAxis(frame), ...stepAxis(frame), ...more, '<g class="cursor"></g>']);
};
const showCursor = (frame, step) => {
  const cursor = frame.plot.querySelector(".cursor");
  if (!cursor) return;
  const [from, to] = frame.steps, out = step === null || step < from || step > to;
  const at = out ? 0 : clamp(frame.x(step), frame.pad.left, frame.width - frame.pad.right);
  cursor.innerHTML = out ? "" : line(at, frame.pad.top, at, frame.height - frame.pad.bottom, { stroke: "var(--link)", "stroke-width": 1.5 });
};

// Where there is nothing to draw as no number was finite, it says so.
const nothingAfter = ({ x, width, height, steps, pad }, step) => {
  if (step >= steps[1]) return [];
  const from = Math.max(x(step), pad.left), room = width - pad.right - from, said = "not finite";
  const box = svg("rect", { x: from, y: pad.top, width: Math.max(room, 0), height: height - pad.bottom - pad.top, class: "after" });
  return [box, room > 80 ? text(from + room / 2, (height - pad.bottom + pad.top) / 2, said, { "text-anchor": "middle", fill: "var(--error)" }) : ""];
};

// `lines`: [{series, row, colour, name}]; those not chosen step back.
const drawLines = (plot, lines, { log, range, steps, marks = [], guides = [], smooth = 0, lost = null }) => {
  const frame = frameOf(plot, steps, range, log);
  const context = canvasOf(frame), { pad, width, height } = frame;
  context.beginPath();
  context.rect(pad.left - 1, 0, width - pad.left - pad.right + 2, height - pad.bottom + 1);
  context.clip();
  showAxes(frame, [
    ...(lost === null ? [] : nothingAfter(frame, lost)),
    ...(range ? guides.filter(([value]) => value > range[0] && value < range[1]).map(([value, label]) =>
      line(frame.pad.left, frame.y(value), frame.width - frame.pad.right, frame.y(value), { stroke: MUTED, "stroke-dasharray": "1 4" }) +
      text(frame.pad.left + 4, frame.y(value) - 4, label, { class: "guide" })) : []),
    ...marksOf(frame, marks.filter(({ step }) => step >= steps[0] && step <= frame.steps[1])),
  ]);
  if (!range) return frame;
  const chosen = lines.some(({ name }) => name === state.layer), many = lines.length > 12, thin = many ? 1 : 1.6;
  for (const each of lines) {
    if (each.name !== state.layer) strokeBand(context, frame, each.series, each.row, each.colour, thin, chosen ? 0.15 : smooth ? 0.28 : 0.9, many);
    if (smooth && !chosen) strokeBand(context, frame, smoothed(each.series, each.row, smooth, log), 0, each.colour, 2, 1, false);
  }
  for (const each of lines.filter(({ name }) => chosen && name === state.layer)) {
    strokeBand(context, frame, each.series, each.row, each.colour, 2.6, 1, false);
  }
  return frame;
};

// The middle of every bucket, drawn to its own past; the extremes stay visible, paler, behind it.
const smoothed = ({ first, last, low, high, count }, row, share, log) => {
  const values = new Float32Array(count), to = log ? Math.log : (v) => v, from = log ? Math.exp : (v) => v;
  let sum = 0, weight = 0;
  for (let k = 0; k < count; k++) {
    const middle = (to(low[row * count + k]) + to(high[row * count + k])) / 2;
    if (!Number.isFinite(middle)) {
      values[k] = NaN;
      continue;
    }
    sum = share * sum + (1 - share) * middle;
    weight = share * weight + (1 - share);
    values[k] = from(sum / weight);
  }
  return { first, last, low: values, high: values, count };
};

// What stands nearest to the pointer among lines.
const nearestLine = (frame, lines, step, py) => {
  let best = null, distance = Infinity;
  for (const each of lines) {
    const at = each.row * each.series.count + bucketAt(each.series, step);
    for (const value of [each.series.low[at], each.series.high[at]]) {
      if (!isShown(value, frame.log) || !frame.range) continue;
      const away = Math.abs(frame.y(clamp(value, ...frame.range)) - py);
      if (away < distance) [best, distance] = [each, away];
    }
  }
  return best;
};

const shade = (value, { range, log }) => {
  if (Number.isNaN(value)) return null;
  if (!Number.isFinite(value)) return NOT_FINITE;
  const bend = log ? (v) => Math.log10(Math.max(v, range[0])) : (v) => v;
  return mixed(HEAT, (bend(value) - bend(range[0])) / (bend(range[1]) - bend(range[0]) || 1));
};

// How far the last of its steps may be thought to reach.
const strideOf = ({ last, first, count }) => (count > 1 ? (last[count - 1] - first[0]) / count : 1);
const heatPad = (plot) => ({ ...PAD, left: plot.clientWidth < 560 ? 92 : 168 });
const standTall = (name, names) => {
  plotOf(name).style.height = `${clamp(names.length * 15, 90, 620) + PAD.top + PAD.bottom}px`;
};
const drawHeat = (plot, names, series, { log, range, steps, extreme }) => {
  const frame = frameOf(plot, steps, null, log, heatPad(plot)), context = canvasOf(frame);
  const { pad } = frame, wide = frame.width - pad.left - pad.right, tall = frame.height - pad.top - pad.bottom;
  const each = tall / names.length, every = Math.ceil(13 / each);
  frame.rowAt = (py) => clamp(Math.floor((py - pad.top) / each), 0, names.length - 1);
  showAxes(frame, [
    ...names.map((name, row) => row % every && name !== state.layer ? "" :
      text(pad.left - 7, pad.top + (row + 0.5) * each + 4, escaped(elided(name, pad.left > 100 ? 22 : 11)),
        { "text-anchor": "end", ...(name === state.layer ? { fill: INK, "font-weight": 700 } : {}) })),
    ...names.map((name, row) => name === state.layer
      ? svg("rect", { x: pad.left, y: pad.top + row * each, width: wide, height: each, fill: "none", stroke: INK, "stroke-width": 1.5 }) : ""),
  ]);
  if (!range || wide < 1) return frame;
  const image = new ImageData(wide, names.length), end = series.last[series.count - 1] + strideOf(series);
  const values = extreme === "low" ? series.low : series.high;
  for (let px = 0; px < wide; px++) {
    const step = frame.stepAt(pad.left + px + 0.5), bucket = bucketAt(series, step);
    if (step < series.first[0] || step > end) continue;
    for (let row = 0; row < names.length; row++) {
      const colour = shade(values[row * series.count + bucket], { range, log });
      if (colour) image.data.set([...colour, 255], 4 * (row * wide + px));
    }
  }
  const small = document.createElement("canvas");
  small.width = wide;
  small.height = names.length;
  small.getContext("2d").putImageData(image, 0, 0);
  context.imageSmoothingEnabled = false;
  context.drawImage(small, pad.left, pad.top, wide, tall);
  return frame;
};
