// The map that undertow.theory.meanfield computed: values at the points of a grid, read off there and nowhere else.
const floats = (text) => new Float32Array(Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0)).buffer);

const mapOf = (data) => {
  const maps = Object.fromEntries(
    Object.entries(data.maps).map(([name, { chi, q }]) => [name, { chi: floats(chi), q: floats(q) }]),
  );
  return { ...data, maps };
};

const readAt = (map, { kind, iw, ib, layers }) => {
  const at = ib * map.weight_var.length + iw;
  const chi = map.maps[kind].chi[at], q = map.maps[kind].q[at];
  return { weightVar: map.weight_var[iw], biasVar: map.bias_var[ib], chi, q, factor: Math.sqrt(chi),
    decades: (layers * Math.log10(chi)) / 2 };
};

const phaseOf = ({ chi, q }) => {
  if (q === Infinity) return "the signal grows without bound";
  if (Math.abs(Math.log(chi)) <= 1e-3) return "critical: on the edge";
  return chi < 1 ? "ordered: gradients vanish" : "chaotic: gradients explode";
};

const nearest = (values, wanted, scale = (v) => v) =>
  values.reduce((best, v, k) => (Math.abs(scale(v) - scale(wanted)) < Math.abs(scale(values[best]) - scale(wanted)) ? k : best), 0);
