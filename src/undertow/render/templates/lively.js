// Wakes each drawing into a live chart when the reader comes near, and keeps one chosen layer in all of them.
const LEGEND = "layer-legend-";
const buttons = [...document.querySelectorAll("button[data-layer]")];
const views = [];
let chosen = null;

const choose = (layer) => {
  chosen = layer === chosen ? null : layer;
  for (const view of views) view.signal("layer", chosen).runAsync();
  for (const button of buttons) {
    button.setAttribute("aria-pressed", String(Number(button.dataset.layer) === chosen));
  }
  address.write({ layer: chosen });
};

// A mark's row; a nearest-point cell holds its point, which holds its row.
const rowOf = (item) => {
  let datum = item.datum;
  while (datum && datum.datum) datum = datum.datum;
  return datum;
};
const layerOf = (item) => {
  const row = item && rowOf(item);
  if (!row) return undefined;
  return item.mark.name?.startsWith(LEGEND) ? row.value : row.layer;
};

// Vega-Lite makes legends deaf; those of layers shall listen.
let legends = 0;
const openLegends = (group) => {
  for (const legend of group.legends || []) {
    if (legend.title !== "layer") continue;
    for (const part of ["symbols", "labels"]) {
      const encode = ((legend.encode ||= {})[part] ||= {});
      Object.assign(encode, { name: LEGEND + legends++, interactive: true });
      encode.update = { ...encode.update, cursor: { value: "pointer" } };
    }
  }
  (group.marks || []).forEach(openLegends);
  return group;
};

const wake = async (panel) => {
  const spec = JSON.parse(panel.querySelector("script").textContent);
  const options = { actions: false, renderer: "svg", ast: true, patch: openLegends };
  const live = panel.querySelector(".live");
  const { view } = await window.vegaEmbed(live, spec, options);
  live.querySelector("svg").setAttribute("aria-hidden", "true"); // the drawing, still there unseen, says it in words
  view.addEventListener("click", (_, item) => {
    const layer = layerOf(item);
    if (Number.isInteger(layer)) choose(layer);
  });
  views.push(view);
  await view.signal("layer", chosen).runAsync();
  panel.classList.add("awake");
};
const waken = (panel) => wake(panel).catch((error) => console.error("a chart stays a drawing:", error));

const near = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    near.unobserve(target);
    waken(target);
  }
}, { rootMargin: "600px 0px" });
document.querySelectorAll(".panel").forEach((panel) => near.observe(panel));

for (const button of buttons) button.addEventListener("click", () => choose(Number(button.dataset.layer)));
addEventListener("keydown", (event) => event.key === "Escape" && chosen !== null && choose(chosen));
document.querySelector(".layers")?.removeAttribute("hidden");
const sent = Number(address.read().layer);
if (buttons.some((button) => Number(button.dataset.layer) === sent)) choose(sent);
window.undertow = { views };
