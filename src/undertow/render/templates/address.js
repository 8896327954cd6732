// What is being looked at, kept in the address, so that a view can be sent: #step=40&layer=fc1.
const address = {
  read: () => (location.hash.includes("=") ? Object.fromEntries(new URLSearchParams(location.hash.slice(1))) : {}),
  write: (changes) => {
    const kept = new URLSearchParams(address.read());
    for (const [name, value] of Object.entries(changes)) {
      if (value === null || value === undefined || value === "" || value === false) kept.delete(name);
      else kept.set(name, value === true ? "1" : String(value));
    }
    const hash = kept.toString();
    if (hash || location.hash.includes("=")) history.replaceState(null, "", `${location.pathname}${location.search}${hash ? `#${hash}` : ""}`);
  },
};
