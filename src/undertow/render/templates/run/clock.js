// Along what pictures are drawn: steps, steps with the early ones wide, or the time that training took.
const ALONG = [["steps", "steps"], ["early", "steps, early ones wide"], ["time", "time"]];

// A bucket of times holds its first step's and its last one's: straight lines between them.
const clockOf = (series) => {
  if (!series || !series.count) return null;
  const steps = [], seconds = [];
  const note = (step, time) => {
    if (!Number.isFinite(time) || (steps.length && step <= steps.at(-1))) return;
    steps.push(step);
    seconds.push(Math.max(time, seconds.at(-1) ?? time));
  };
  for (let k = 0; k < series.count; k++) {
    note(series.first[k], series.low[k]);
    note(series.last[k], series.high[k]);
  }
  const read = (from, to) => (value) => {
    let k = 1;
    while (k < from.length - 1 && from[k] < value) k++;
    const width = from[k] - from[k - 1];
    return width > 0 ? to[k - 1] + ((value - from[k - 1]) / width) * (to[k] - to[k - 1]) : to[k];
  };
  return steps.length > 1 && seconds.at(-1) > seconds[0] ? { at: read(steps, seconds), stepAt: read(seconds, steps) } : null;
};

const bendOf = (steps) => {
  if (state.x === "time" && state.clock) return { to: state.clock.at, from: state.clock.stepAt };
  if (state.x === "early") return { to: (step) => Math.log1p(Math.max(step - steps[0], 0)), from: (v) => Math.expm1(v) + steps[0] };
  return { to: (step) => step, from: (v) => v };
};

const STRIDES = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400];
const timeStride = (rough) => {
  if (rough < 1) {
    const size = 10 ** Math.floor(Math.log10(rough));
    return [1, 2, 5, 10].map((k) => k * size).find((each) => each >= rough);
  }
  return STRIDES.find((each) => each >= rough) ?? Math.ceil(rough / 86400) * 86400;
};
const duration = (seconds) => {
  if (seconds < 60) return `${number(Number(seconds.toPrecision(3)))} s`;
  const minutes = Math.round(seconds / 60), hours = Math.floor(minutes / 60);
  if (!hours) return seconds % 60 ? `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s` : `${minutes} min`;
  return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
};
const timeTicks = ([low, high], most) => {
  const stride = timeStride((high - low) / most), first = Math.ceil(low / stride);
  return Array.from({ length: Math.max(0, Math.floor(high / stride) - first + 1) }, (_, k) => (first + k) * stride);
};
