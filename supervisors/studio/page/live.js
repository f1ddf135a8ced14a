// Plays a take while it is still being drawn: the clock waits where the notes have not come yet.
"use strict";
const Live = (() => {
  const AHEAD = 0.3; // seconds of notes that are handed to the browser before they sound
  let playing = null;
  let changed = () => {};

  function play(take, from) {
    pause();
    const ctx = Sound.context();
    playing = { take, ctx, out: Sound.output(ctx), begin: ctx.currentTime + 0.06 - from, from, sent: new Set(), timer: 0 };
    tick();
    changed();
  }

  function pause() {
    if (!playing) return;
    clearTimeout(playing.timer);
    playing.out.disconnect();
    playing.take.cursor = at();
    playing = null;
    changed();
  }

  // Where the music is now, in seconds of the take.
  const at = () => Math.min(Math.max(playing.ctx.currentTime - playing.begin, playing.from), Math.max(playing.take.seconds, playing.from));

  function tick() {
    const { take, ctx, out, sent, from } = playing;
    let now = ctx.currentTime - playing.begin;
    const known = take.streaming ? take.onset : Infinity; // before this, all notes are there
    if (now + AHEAD > known && known < Infinity) { // wait for more
      const held = Math.max(known - AHEAD, from - 0.06);
      if (now > held) { playing.begin += now - held; now = held; }
    }
    for (const [id, , , start, length, pitch, velocity, program] of take.notes.values()) {
      if (sent.has(id) || start < from - 1e-6 || start > now + AHEAD) continue;
      sent.add(id);
      if (start > now - 0.1) Sound.note(ctx, out, Math.max(playing.begin + start, ctx.currentTime), length, pitch, velocity, program < 0);
    }
    take.cursor = at();
    if (!take.streaming && now > take.seconds + 0.3) { const ended = playing.take; pause(); ended.cursor = 0; changed(); return; }
    playing.timer = setTimeout(tick, 30);
  }

  return { play, pause, get take() { return playing && playing.take; }, onchange(then) { changed = then; } };
})();
