// What is being looked at, kept in the address, so that a view can be sent: #step=40&layer=fc1.
const address = {
  read: () => (location.hash.includes("=") ? Object.fromEntries(new URLSearchParams(location.hash.slice(1))) : {}),
  waiting: {},
  // A slider moves faster than browsers let an address change.
  write: (changes) => {
    const idle = !Object.keys(address.waiting).length;
    Object.assign(address.waiting, changes);
    if (idle) setTimeout(address.settle, 150);
  },
  settle: () => {
    const kept = new URLSearchParams(address.read());
    for (const [name, value] of Object.entries(address.waiting)) {
      if (value === null || value === undefined || value === "" || value === false) kept.delete(name);
      else kept.set(name, value === true ? "1" : String(value));
    }
    address.waiting = {};
    const hash = kept.toString();
    if (hash || location.hash.includes("=")) history.replaceState(null, "", `${location.pathname}${location.search}${hash ? `#${hash}` : ""}`);
  },
};
