// Series as the page gets them: little-endian numbers in base64, the smallest and the largest of every bucket.
const unpack = (text, Kind) => {
  const signs = atob(text), bytes = new Uint8Array(signs.length);
  for (let k = 0; k < signs.length; k++) bytes[k] = signs.charCodeAt(k);
  return new Kind(bytes.buffer);
};

// Values are unpacked when something is drawn of them: most of a page is not on the screen.
const seriesOf = (given) => {
  const first = unpack(given.first, Float64Array), last = unpack(given.last, Float64Array);
  let low = null, high = null;
  return {
    ...given, first, last, count: first.length,
    get low() { return (low ??= unpack(given.low, Float32Array)); },
    get high() { return (high ??= given.high === null ? this.low : unpack(given.high, Float32Array)); },
  };
};

// The bucket that a step falls into, or the nearest one before it.
const bucketAt = (series, step) => {
  let from = 0, to = series.count - 1;
  while (from < to) {
    const middle = (from + to + 1) >> 1;
    if (series.first[middle] <= step) from = middle;
    else to = middle - 1;
  }
  return from;
};
const nearestPlace = (steps, step) => {
  let best = 0;
  steps.forEach((each, place) => {
    if (Math.abs(each - step) < Math.abs(steps[best] - step)) best = place;
  });
  return best;
};

const isShown = (value, log) => Number.isFinite(value) && (!log || value > 0);

// The range of several series; on a logarithmic axis of what is above zero, and never more than 16 decades of it.
const rangeOf = (several, log, within = null) => {
  let least = Infinity, most = -Infinity;
  for (const { low, high, first, last, count } of several) {
    for (const values of low === high ? [low] : [low, high]) {
      for (let k = 0; k < values.length; k++) {
        const value = values[k];
        if (!isShown(value, log) || (within && (last[k % count] < within[0] || first[k % count] > within[1]))) continue;
        if (value < least) least = value;
        if (value > most) most = value;
      }
    }
  }
  if (least > most) return null;
  if (!log) return least < most ? [least, most] : most > 0 ? [0, 2 * most] : [most - 1, most + 1];
  return [Math.max(least, most * 1e-16) / 1.2, most * 1.2];
};

const between = (low, high) => {
  const shown = (value) => (Number.isNaN(value) ? "–" : number(value));
  return low === high || (Number.isNaN(low) && Number.isNaN(high)) ? shown(high) : `${shown(low)} to ${shown(high)}`;
};
