// Takes: every piece that was drawn, where it came from, and the drawing itself.
"use strict";
const Takes = (() => {
  const all = [];
  const LEAD = 30; // seconds that an endless take is drawn ahead of the clock
  let count = 0;
  let changed = () => {};

  // A take of `model` behind `tokens`; `parent` is the take that it goes on from, cut at `at` seconds.
  function begin(model, tokens, wish, parent, at) {
    const take = blank(model, tokens, wish, parent, at);
    draw(take);
    changed();
    return take;
  }

  function blank(model, tokens, wish, parent, at) {
    const take = {
      number: ++count, model, wish, parent, at, label: "", tokens: [...tokens], notes: new Map(), programs: [], bars: [], marks: [],
      seconds: 0, beats: 0, onset: 0, given: 0, drawn: 0, cursor: 0, streaming: true, why: "", seed: 0, marked: null, nats: null, pace: 0,
      stopper: new AbortController(),
    };
    all.push(take);
    return take;
  }

  async function draw(take) {
    const clicked = performance.now();
    const heard = (name, data) => {
      if (name === "start") {
        take.seed = data.seed;
        take.given = data.given.length ? data.seconds : 0;
        add(take, data.given, [], data);
        take.cursor = take.parent ? Math.min(take.at, data.seconds) : 0;
      } else if (name === "music") {
        if (take.drawn === 0) take.first = performance.now() - clicked;
        take.tokens.push(...data.tokens);
        take.drawn += data.tokens.length;
        add(take, data.notes, data.gone, data);
        take.marks.push([take.tokens.length, take.onset]);
        take.pace = (take.seconds - take.given) / Math.max((performance.now() - clicked) / 1000, 0.001);
        changed();
      } else {
        take.why = data.why;
      }
    };
    try {
      await Api.events("generate", { ...take.wish, lead: take.wish.endless ? LEAD : 0, model: take.model, tokens: take.tokens }, take.stopper.signal, heard);
    } catch (error) {
      take.why = take.stopper.signal.aborted ? "stopped" : error.message;
      take.failed = !take.stopper.signal.aborted;
    }
    take.streaming = false;
    await barred(take);
    changed(take.failed ? take.why : "");
  }

  function add(take, notes, gone, data) {
    for (const note of notes) {
      take.notes.set(note[0], note);
      take.onset = Math.max(take.onset, note[3]);
      if (note[7] >= 0 && !take.programs.includes(note[7])) take.programs.push(note[7]);
    }
    for (const id of gone) take.notes.delete(id);
    take.seconds = data.seconds;
    take.beats = data.beats;
  }

  // Where bars begin, asked once a take stands still; a long one goes without.
  async function barred(take) {
    if (take.tokens.length === take.barredAt) return;
    take.barredAt = take.tokens.length;
    try {
      take.bars = (await Api.json("decode", { model: take.model, tokens: take.tokens })).bars;
    } catch { take.bars = []; }
  }

  // The tokens up to the bar at `seconds`, and the second where it begins; without bars up to the last note before.
  async function upTo(take, seconds) {
    await barred(take);
    const bars = take.bars.filter((bar) => bar[2] !== null && bar[1] <= seconds + 0.05);
    if (bars.length) { const [, start, token] = bars[bars.length - 1]; return [take.tokens.slice(0, token), start]; }
    const marks = take.marks.filter((mark) => mark[1] <= seconds);
    return marks.length ? [take.tokens.slice(0, marks[marks.length - 1][0]), marks[marks.length - 1][1]] : [take.tokens.slice(0, take.tokens.length - take.drawn), take.given];
  }

  // A take of tokens that another request has drawn already: what `found` says of them.
  function done(model, found, wish, parent, at) {
    const take = blank(model, found.tokens, wish, parent, at);
    Object.assign(take, { streaming: false, why: "filled", seed: found.seed, bars: found.bars, barredAt: found.tokens.length, drawn: found.drawn });
    add(take, found.notes, [], found);
    changed();
    return take;
  }

  function stop(take) { take.stopper.abort(); }

  function remove(take) {
    stop(take);
    all.splice(all.indexOf(take), 1);
  }

  return { all, begin, done, stop, remove, upTo, barred, onchange(then) { changed = then; } };
})();
