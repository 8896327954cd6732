// Where |w φ'(w a + b)| is 1 or more: the widest interval of a, as undertow.theory.bounds finds it.
const REACH = 40, PROBES = 16000;
const profiles = new Map();
const profileOf = (activation) => {
  if (!profiles.has(activation)) {
    const at = (k) => -REACH + (2 * REACH * k) / PROBES;
    const slope = ACTIVATIONS[activation].slope;
    profiles.set(activation, Float64Array.from({ length: PROBES + 1 }, (_, k) => Math.abs(slope(at(k)))));
  }
  return profiles.get(activation);
};

const crossing = (activation, level, outside, inside) => {
  for (let n = 0; n < 60; n++) {
    const middle = (outside + inside) / 2;
    if (Math.abs(ACTIVATIONS[activation].slope(middle)) >= level) inside = middle;
    else outside = middle;
  }
  return inside;
};

const widestAbove = (activation, level) => {
  const slopes = profileOf(activation), at = (k) => -REACH + (2 * REACH * k) / PROBES;
  let best = null;
  for (let k = 0, first = -1; k <= PROBES; k++) {
    if (slopes[k] >= level && first < 0) first = k;
    if (first < 0 || (slopes[k] >= level && k < PROBES)) continue;
    const last = slopes[k] >= level ? k : k - 1;
    const low = first === 0 ? -Infinity : crossing(activation, level, at(first - 1), at(first));
    const high = last === PROBES ? Infinity : crossing(activation, level, at(last + 1), at(last));
    if (!best || high - low > best[1] - best[0]) best = [low, high];
    first = -1;
  }
  return best;
};

const windowOf = (activation, w, b) => {
  const found = w === 0 ? null : widestAbove(activation, 1 / Math.abs(w));
  return found && found.map((z) => (z - b) / w).sort((x, y) => x - y);
};
