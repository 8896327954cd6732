// Series as the page gets them: little-endian numbers in base64, the smallest and the largest of every bucket.
const unpack = (text, Kind) => new Kind(Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0)).buffer);

const seriesOf = (given) => {
  const first = unpack(given.first, Float64Array), last = unpack(given.last, Float64Array);
  const low = unpack(given.low, Float32Array), high = given.high === null ? low : unpack(given.high, Float32Array);
  return { ...given, first, last, low, high, count: first.length, width: first.length ? low.length / first.length : 0 };
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
const rangeOf = (several, log) => {
  let least = Infinity, most = -Infinity;
  for (const { low, high } of several) {
    for (const values of low === high ? [low] : [low, high]) {
      for (const value of values) {
        if (!isShown(value, log)) continue;
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
  const told = (value) => (Number.isNaN(value) ? "–" : number(value));
  return low === high || (Number.isNaN(low) && Number.isNaN(high)) ? told(high) : `${told(low)} to ${told(high)}`;
};
