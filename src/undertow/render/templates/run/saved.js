// A saved page holds everything it shows.
const wantMoment = () => {
  moment = given.moments[state.place] ?? null;
  momentCame();
};
part("state").hidden = true;
shown(given.view);
move(given.start);
