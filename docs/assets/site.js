// What scrolls sideways can be reached and scrolled by the keyboard.
window.addEventListener("load", () => {
  for (const each of document.querySelectorAll(".md-typeset__scrollwrap, pre > code")) each.tabIndex = 0;
});
