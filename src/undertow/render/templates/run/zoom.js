// A part of the run instead of all of it: dragged over, or by + and − and 0; the address keeps it.
const LEAST_DRAG = 8;
const shownSteps = () => state.zoom ?? view.steps;
const zoomTo = (from, to) => {
  const [first, last] = view.steps, low = Math.max(Math.min(from, to), first), high = Math.min(Math.max(from, to), last);
  const whole = low <= first && high >= last;
  if (!whole && high - low < 2) return;
  state.zoom = whole ? null : [low, high];
  keepInAddress();
  drawAll();
};
const zoomBy = (factor) => {
  const [low, high] = shownSteps(), middle = clamp(stepNow() ?? (low + high) / 2, low, high);
  zoomTo(middle - (middle - low) * factor, middle + (high - middle) * factor);
};
part("whole").addEventListener("click", () => zoomTo(...view.steps));

let dragged = false;
for (const plot of document.querySelectorAll("[data-plot]")) {
  let began = null;
  const at = (event) => event.clientX - plot.getBoundingClientRect().left;
  plot.addEventListener("pointerdown", (event) => {
    began = event.button === 0 ? at(event) : null;
    dragged = false;
  });
  plot.addEventListener("pointermove", (event) => {
    const frame = frames[plot.dataset.plot];
    if (began === null || !frame || !event.buttons || Math.abs(at(event) - began) < LEAST_DRAG) return;
    dragged = true;
    const { pad, width, height } = frame, ends = [began, at(event)].map((x) => clamp(x, pad.left, width - pad.right));
    plot.querySelector(".cursor").innerHTML = svg("rect", { x: Math.min(...ends), y: pad.top, width: Math.abs(ends[1] - ends[0]),
      height: height - pad.top - pad.bottom, fill: "var(--link)", "fill-opacity": 0.15 });
  });
  plot.addEventListener("pointerup", (event) => {
    const frame = frames[plot.dataset.plot];
    if (began !== null && dragged && frame) zoomTo(frame.stepAt(began), frame.stepAt(at(event)));
    began = null;
  });
}
