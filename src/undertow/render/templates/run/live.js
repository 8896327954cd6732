// A live page asks for what is new whenever the server says that there is something.
let asked = 0;
const wantStepView = async () => {
  const number = ++asked, step = stepNow();
  if (step === null) {
    stepView = null;
    return stepViewCame();
  }
  const answer = await fetch(`${given.urls.step}&row=${state.place}`).catch(() => null);
  if (!answer?.ok || number !== asked) return;
  stepView = await answer.json();
  stepViewCame();
};

const showState = (kind, message) => {
  part("state").className = `chip ${kind}`;
  if (part("state").textContent !== message) part("state").textContent = message;
};

// However fast steps come, the page rests between two drawings as long as one took, to be used in.
let fetching = false, again = false;
const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
const afterPaint = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
const refresh = async () => {
  if (fetching) return void (again = true);
  fetching = true;
  const answer = await fetch(given.urls.view).catch(() => null);
  if (answer?.ok) {
    const data = await answer.json(), began = performance.now();
    document.body.classList.remove("unread");
    shown(data);
    await afterPaint();
    await pause(Math.min(performance.now() - began, 400));
  } else if (answer) {
    showState("lost", (await answer.text()).slice(0, 300));
    document.body.classList.toggle("unread", view === null);
  }
  fetching = false;
  if (again) {
    again = false;
    refresh();
  }
};

let source = null;
const listen = () => {
  source = new EventSource(given.urls.events);
  source.addEventListener("state", ({ data }) => {
    const now = JSON.parse(data)[given.name];
    showState(now.kind, now.message);
    if (now.version !== undefined && now.version !== view?.version) refresh();
  });
  // The browser tries again by itself, unless the server has answered with an error.
  source.addEventListener("error", () => {
    showState("lost", "no connection, trying again");
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, 2000);
  });
};
// Browsers allow a server few open connections: pages nobody looks at let theirs go.
document.addEventListener("visibilitychange", () => {
  source?.close();
  if (document.visibilityState === "visible") listen();
});
refresh();
listen();
