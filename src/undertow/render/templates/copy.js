// Buttons that copy the lines beside them; without a clipboard, as over http, the selection does it.
const copied = async (code) => {
  if (navigator.clipboard && window.isSecureContext) {
    const done = await navigator.clipboard.writeText(code.textContent).then(() => true, () => false);
    if (done) return true;
  }
  getSelection().selectAllChildren(code);
  return document.execCommand("copy");
};
document.addEventListener("click", async ({ target }) => {
  const button = target.closest?.("button.copy");
  if (!button) return;
  const done = await copied(button.parentElement.querySelector("code"));
  button.textContent = done ? "Copied" : "Press Ctrl+C";
  setTimeout(() => (button.textContent = "Copy"), 1600);
});
document.querySelectorAll("button.copy").forEach((button) => (button.hidden = false));
