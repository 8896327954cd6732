// Every activation and its derivative; held to the library's by a test in a real browser.
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

const ACTIVATIONS = {
  sigmoid: { value: logistic, slope: logisticSlope },
  tanh: { value: Math.tanh, slope: (z) => 4 * logisticSlope(2 * z) },
  relu: { value: (z) => Math.max(z, 0), slope: (z) => (z > 0 ? 1 : 0) },
  leaky_relu: { value: (z) => (z > 0 ? z : 0.01 * z), slope: (z) => (z > 0 ? 1 : 0.01) },
  softsign: { value: (z) => z / (1 + Math.abs(z)), slope: (z) => (1 + Math.abs(z)) ** -2 },
  gelu: { value: (z) => z * normalBelow(z), slope: (z) => normalBelow(z) + z * normalDensity(z) },
  silu: { value: (z) => z * logistic(z), slope: (z) => logistic(z) + z * logisticSlope(z) },
  elu: { value: (z) => (z > 0 ? z : Math.expm1(z)), slope: (z) => Math.exp(Math.min(z, 0)) },
  selu: {
    value: (z) => SELU_SCALE * (z > 0 ? z : SELU_ALPHA * Math.expm1(z)),
    slope: (z) => SELU_SCALE * (z > 0 ? 1 : SELU_ALPHA * Math.exp(z)),
  },
  softplus: { value: (z) => Math.max(z, 0) + Math.log1p(Math.exp(-Math.abs(z))), slope: logistic },
  erf: { value: erf, slope: (z) => (2 / Math.sqrt(Math.PI)) * Math.exp(-z * z) },
  linear: { value: (z) => z, slope: () => 1 },
};
