// One neuron a layer: the factors of equation 121, from the first neuron on, and the gradient of every bias.
const chainOf = ({ activation, w, b, a, depth, random, draw }, normals) => {
  const phi = ACTIVATIONS[activation];
  const rows = [];
  let input = a, product = 1;
  for (let j = 1; j <= depth; j++) {
    const weight = random ? w * normals[draw][0][j - 1] : w;
    const bias = random ? b * normals[draw][1][j - 1] : b;
    const z = weight * input + bias, slope = phi.slope(z);
    const factor = j === 1 ? slope : weight * slope;
    product *= factor;
    rows.push({ j, weight, bias, input, z, slope, factor, product });
    input = phi.value(z);
  }
  let delta = 1;
  for (const row of [...rows].reverse()) {
    row.gradient = delta * row.slope;
    delta = row.gradient * row.weight;
  }
  return rows;
};

// The typical factor: the one that, repeated, gives the same product.
const meanFactor = (rows) => Math.abs(rows.at(-1).product) ** (1 / rows.length);
