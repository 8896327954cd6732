// What scrolls sideways can be reached by the keyboard; the row of a code block's buttons is no landmark of the page.
const mend = () => {
  for (const each of document.querySelectorAll(".md-typeset__scrollwrap, pre > code")) each.tabIndex = 0;
  for (const each of document.querySelectorAll(".md-code__nav")) each.setAttribute("role", "presentation");
};
new MutationObserver(mend).observe(document.documentElement, { childList: true, subtree: true });
window.addEventListener("load", mend);
