// Drawings that tell: the mark nearest to the pointer shows what it was given to say.
const REACH = 40;
const bubble = document.createElement("div");
bubble.className = "told";
bubble.hidden = true;
document.body.append(bubble);

const fill = (told) => {
  bubble.replaceChildren(...told.split("\n").map((line) => {
    const [name, ...value] = line.split("\t"), row = document.createElement("div");
    row.append(Object.assign(document.createElement("span"), { textContent: name }), ` ${value.join(" ")}`);
    return row;
  }));
};
const away = (box, x, y) => Math.hypot(Math.max(box.left - x, 0, x - box.right), Math.max(box.top - y, 0, y - box.bottom));
const tellNearest = (drawing, { clientX: x, clientY: y }) => {
  let best = null, distance = REACH;
  for (const mark of drawing.querySelectorAll("[data-told]")) {
    const far = away(mark.getBoundingClientRect(), x, y);
    if (far < distance) [best, distance] = [mark, far];
  }
  bubble.hidden = !best;
  if (!best) return;
  fill(best.dataset.told);
  const { width, height } = bubble.getBoundingClientRect();
  bubble.style.left = `${Math.max(4, Math.min(x + 14, innerWidth - width - 4))}px`;
  bubble.style.top = `${y + 18 + height < innerHeight ? y + 18 : Math.max(4, y - height - 12)}px`;
};
for (const drawing of document.querySelectorAll(".still")) {
  drawing.addEventListener("pointermove", (event) => tellNearest(drawing, event));
  drawing.addEventListener("pointerleave", () => (bubble.hidden = true));
}
