// A saved page holds everything it shows.
const wantStepView = () => {
  stepView = given.stepViews[state.place] ?? null;
  stepViewCame();
};
part("state").hidden = true;
shown(given.view);
if (sent.step === undefined) move(given.start);
