// What is seen in a picture, in words, for those who don't see it.
const ofLine = ({ series, row, name }) => {
  const { low, high, first, last, count } = series, from = row * count, there = [];
  for (let k = 0; k < count; k++) if (Number.isFinite(high[from + k])) there.push(k);
  if (!there.length) return `${name}: never finite`;
  const [k, l] = [there[0], there.at(-1)], reach = (all, pick) => number(pick(...there.map((each) => all[from + each])));
  const broken = there.length < count ? `, not finite in ${count - there.length} of ${count} places` : "";
  return `${name} from ${number(low[from + k])} at step ${first[k]} to ${number(high[from + l])} at step ${last[l]}, ` +
    `between ${reach(low, Math.min)} and ${reach(high, Math.max)}${broken}`;
};
const describe = (plot, title, lines) => {
  const shown = lines.length > 6 ? [lines[0], lines.at(-1)] : lines;
  const more = lines.length > shown.length ? `, and ${lines.length - shown.length} layers between` : "";
  plot.setAttribute("aria-label", `${title}: ${shown.map(ofLine).join("; ")}${more}. Arrow keys move the step and choose a layer.`);
};
