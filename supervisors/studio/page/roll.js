// A piano roll on a canvas: the notes of a take, its prompt, bars, marked bars and the cursor.
"use strict";
const Roll = (() => {
  const COLOURS = {
    light: ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a6d3b", "#7f7f7f"],
    dark: ["#56b4e9", "#ff8c42", "#2fd6a5", "#e6a5c8", "#f0c040", "#8fb8ff", "#c9a66b", "#b5b5b5"],
  };
  const night = window.matchMedia("(prefers-color-scheme: dark)");

  function fit(canvas) {
    const ratio = window.devicePixelRatio || 1;
    const box = canvas.getBoundingClientRect();
    const [width, height] = [Math.max(1, Math.round(box.width * ratio)), Math.max(1, Math.round(box.height * ratio))];
    if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
    return ratio;
  }

  // The seconds that are shown: all of a short take; of a long one the part around the cursor.
  function view(take, cursor) {
    const span = Math.min(Math.max(take.seconds, 8), 40);
    const last = Math.max(take.seconds - span, 0);
    return { from: Math.min(Math.max(cursor - span * 0.6, 0), last), span };
  }

  function draw(canvas, take, cursor, whole) {
    const ratio = fit(canvas);
    const ink = canvas.getContext("2d");
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const { from, span } = whole ? { from: 0, span: Math.max(take.seconds, 1) } : view(take, cursor);
    const x = (seconds) => ((seconds - from) / span) * canvas.width;
    const palette = night.matches ? COLOURS.dark : COLOURS.light;
    ink.clearRect(0, 0, canvas.width, canvas.height);
    let [low, high] = [127, 0];
    for (const note of take.notes.values()) { low = Math.min(low, note[5]); high = Math.max(high, note[5]); }
    if (low > high) [low, high] = [60, 72];
    if (high - low < 24) { const more = Math.ceil((24 - high + low) / 2); low -= more; high += more; }
    const row = canvas.height / (high - low + 3);
    if (take.given > 0) {
      ink.fillStyle = colour("--line");
      ink.globalAlpha = 0.5;
      ink.fillRect(x(0), 0, x(take.given) - x(0), canvas.height);
    }
    ink.globalAlpha = 1;
    if (!whole) {
      for (const bar of take.bars) {
        ink.fillStyle = colour("--line");
        ink.fillRect(Math.round(x(bar[1])), 0, ratio, canvas.height);
      }
      if (take.marked) {
        ink.fillStyle = colour("--accent");
        ink.globalAlpha = 0.18;
        ink.fillRect(x(take.marked[0]), 0, x(take.marked[1]) - x(take.marked[0]), canvas.height);
        ink.globalAlpha = 1;
      }
    }
    for (const [, , , start, length, pitch, velocity, program] of take.notes.values()) {
      if (start > from + span || start + length < from) continue;
      ink.fillStyle = program < 0 ? colour("--ink") : palette[take.programs.indexOf(program) % palette.length];
      ink.globalAlpha = 0.45 + (0.55 * velocity) / 127;
      const width = program < 0 ? 2 * ratio : Math.max((length / span) * canvas.width - ratio, ratio);
      ink.fillRect(x(start), (high - pitch + 1) * row, width, Math.max(row * 0.9, ratio));
    }
    ink.globalAlpha = 1;
    if (!whole) {
      ink.fillStyle = "#d55e00";
      ink.fillRect(x(cursor) - ratio, 0, 2 * ratio, canvas.height);
    }
  }

  const seconds = (canvas, take, cursor, event) => {
    const box = canvas.getBoundingClientRect();
    const { from, span } = view(take, cursor);
    return Math.min(Math.max(from + ((event.clientX - box.left) / box.width) * span, 0), take.seconds);
  };

  return { draw, seconds };
})();
