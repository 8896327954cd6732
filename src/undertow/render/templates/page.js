// What every article does: its table of contents follows the reader.
const links = new Map([...document.querySelectorAll(".contents a")].map((a) => [a.hash.slice(1), a]));
const reading = new IntersectionObserver((entries) => {
  const section = entries.find((entry) => entry.isIntersecting)?.target.getAttribute("aria-labelledby");
  if (!section) return;
  for (const [id, link] of links) {
    id === section ? link.setAttribute("aria-current", "true") : link.removeAttribute("aria-current");
  }
}, { rootMargin: "-20% 0px -70% 0px" });
document.querySelectorAll("main > section").forEach((section) => reading.observe(section));

document.documentElement.classList.add("scripted");
