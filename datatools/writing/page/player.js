// Plays the pieces of a page through Sound (sound.js), and moves a cursor over their piano rolls.
// A piece is <section data-piece> with a JSON script of notes [start s, length s, pitch, velocity, track] and drums.
"use strict";
(() => {
  let playing = null;
  const AHEAD = 0.4; // seconds of notes that are handed to the browser before they sound

  function start(section, from) {
    stop();
    const piece = JSON.parse(section.querySelector("script[type='application/json']").textContent);
    const ctx = Sound.context();
    const out = Sound.output(ctx);
    const begin = ctx.currentTime + 0.08 - from;
    let next = piece.notes.findIndex((note) => note[0] + note[1] > from);
    if (next < 0) next = piece.notes.length;
    const cursor = section.querySelector(".cursor");
    const clock = section.querySelector(".clock");
    const seconds = piece.seconds;
    function tick() {
      const now = ctx.currentTime - begin;
      while (next < piece.notes.length && piece.notes[next][0] < now + AHEAD) {
        const [time, length, pitch, velocity, track] = piece.notes[next++];
        if (time >= from - 1e-6) Sound.note(ctx, out, begin + time, length, pitch, velocity, piece.drums.includes(track));
      }
      const shown = Math.min(Math.max(now, 0), seconds);
      place(cursor, shown / seconds);
      clock.textContent = shown.toFixed(1) + " s";
      if (now > seconds + 0.3) { stop(); place(cursor, 0); section.dataset.at = "0"; return; }
      section.dataset.at = String(shown);
      playing.frame = setTimeout(tick, 40);
    }
    playing = { section, out, frame: 0 };
    button(section).setAttribute("aria-pressed", "true");
    button(section).textContent = "Stop";
    tick();
  }

  function place(cursor, share) {
    cursor.setAttribute("x1", share * 1000);
    cursor.setAttribute("x2", share * 1000);
  }

  const button = (section) => section.querySelector("button.play");

  function stop() {
    if (!playing) return;
    clearTimeout(playing.frame);
    playing.out.disconnect();
    button(playing.section).setAttribute("aria-pressed", "false");
    button(playing.section).textContent = "Play";
    playing = null;
  }

  for (const section of document.querySelectorAll("section[data-piece]")) {
    button(section).addEventListener("click", () => {
      const same = playing && playing.section === section;
      stop();
      if (!same) start(section, Number(section.dataset.at || 0));
    });
    const roll = section.querySelector("svg.roll");
    roll.addEventListener("click", (event) => {
      const box = roll.getBoundingClientRect();
      const piece = JSON.parse(section.querySelector("script[type='application/json']").textContent);
      start(section, Math.max(0, ((event.clientX - box.left) / box.width) * piece.seconds));
    });
  }

  // Tables sort by a click, or Enter, on a heading.
  for (const heading of document.querySelectorAll("table thead th")) {
    heading.tabIndex = 0;
    heading.setAttribute("role", "columnheader button");
    const sort = () => {
      const table = heading.closest("table");
      const column = [...heading.parentNode.children].indexOf(heading);
      const down = heading.getAttribute("aria-sort") === "ascending";
      for (const other of heading.parentNode.children) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", down ? "descending" : "ascending");
      const value = (row) => {
        const text = row.children[column] ? row.children[column].textContent.trim() : "";
        const number = parseFloat(text.replace(/,/g, "").replace("≥", ""));
        return Number.isNaN(number) ? text.toLowerCase() : number;
      };
      const rows = [...table.tBodies[0].rows].sort((a, b) => {
        const [x, y] = [value(a), value(b)];
        if (typeof x !== typeof y) return typeof x === "number" ? -1 : 1;
        return (x < y ? -1 : x > y ? 1 : 0) * (down ? -1 : 1);
      });
      table.tBodies[0].append(...rows);
    };
    heading.addEventListener("click", sort);
    heading.addEventListener("keydown", (event) => { if (event.key === "Enter") sort(); });
  }
})();
