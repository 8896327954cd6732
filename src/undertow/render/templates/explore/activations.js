// What activations are made of; their table, ACTIVATIONS, is written behind this by undertow.activations.script().
// Held to the library's by a test in a real browser.
const erfSeries = (x) => {
  let term = x, sum = x;
  for (let n = 1; Math.abs(term) > 1e-18 * Math.abs(sum); n++) sum += term *= (2 * x * x) / (2 * n + 1);
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
};
const erfcFraction = (x) => {
  let below = x;
  for (let k = 120; k > 0; k--) below = x + k / 2 / below;
  return Math.exp(-x * x) / (Math.sqrt(Math.PI) * below);
};
const erfc = (x) => (x < 0 ? 2 - erfc(-x) : x < 2.2 ? 1 - erfSeries(x) : x > 27 ? 0 : erfcFraction(x));
const erf = (x) => (Math.abs(x) < 2.2 ? erfSeries(x) : x < 0 ? erfc(-x) - 1 : 1 - erfc(x));

const logistic = (z) => (z < 0 ? Math.exp(z) / (1 + Math.exp(z)) : 1 / (1 + Math.exp(-z)));
const logisticSlope = (z) => logistic(z) * logistic(-z);
const normalBelow = (z) => erfc(-z / Math.SQRT2) / 2;
const normalDensity = (z) => Math.exp(-z * z / 2) / Math.sqrt(2 * Math.PI);
const SELU_ALPHA = 1.6732632423543772, SELU_SCALE = 1.0507009873554805;
