// What a piece goes on from: a file that was dropped, notes that were clicked, or notes of a MIDI keyboard.
"use strict";
const Prompt = (() => {
  const TEMPO = 120;
  const GRID = 4; // places a quarter that played notes are put on
  let source = null; // {file} or {notes}
  let changed = () => {};
  const told = new Map(); // model -> its tokens of this source
  const element = (id) => document.getElementById(id);

  const notes = () => (source && source.notes) || [];
  const end = (list) => list.reduce((last, note) => Math.max(last, note[0] + note[1]), 0);

  function take(next) {
    source = next;
    told.clear();
    changed();
  }

  // The prompt as a model tells it: {tokens, notes, ...}; null without one.
  async function of(model) {
    if (!source) return null;
    if (!told.has(model)) {
      const asked = source.file
        ? Api.call("prompt?" + new URLSearchParams({ model, name: source.file.name }), source.file).then((answer) => answer.json())
        : Api.json("prompt", { model, notes: source.notes, tempo: TEMPO });
      told.set(model, await asked);
    }
    return told.get(model);
  }

  const words = () => {
    if (!source) return "No prompt: pieces begin from nothing.";
    if (source.file) return "Pieces go on from " + source.file.name + ".";
    const count = source.notes.length;
    return "Pieces go on from " + count + (count === 1 ? " note." : " notes.");
  };

  function press(pitch, velocity) { // a clicked key: a note behind the last
    const length = Number(element("length").value);
    const before = notes();
    const start = Math.max(end(before), (source && source.pen) || 0);
    sounded(pitch, velocity);
    take({ notes: [...before, [start, length, pitch, velocity]] });
  }

  function sounded(pitch, velocity) {
    const ctx = Sound.context();
    const out = Sound.output(ctx);
    Sound.note(ctx, out, ctx.currentTime, 0.4, pitch, velocity, false);
    setTimeout(() => out.disconnect(), 1500);
  }

  // Notes of a MIDI keyboard, from the first one on, put on a grid of sixteenths at 120 a minute.
  async function connect(say) {
    if (!navigator.requestMIDIAccess) { say("This browser has no Web MIDI.", true); return; }
    let access;
    try { access = await navigator.requestMIDIAccess(); } catch { say("The browser was not allowed to listen to MIDI keyboards.", true); return; }
    const held = new Map();
    let zero = null;
    let base = 0;
    const listen = () => {
      for (const input of access.inputs.values()) {
        input.onmidimessage = ({ data: [kind, pitch, velocity], timeStamp }) => {
          const beat = () => Math.round(((timeStamp - zero) / 60000) * TEMPO * GRID) / GRID;
          const on = (kind & 0xf0) === 0x90 && velocity > 0;
          if (on) {
            if (zero === null || timeStamp - zero > 60000) { zero = timeStamp; base = Math.ceil(end(notes())); }
            held.set(pitch, [beat(), velocity]);
            sounded(pitch, velocity);
          } else if (held.has(pitch) && ((kind & 0xf0) === 0x80 || (kind & 0xf0) === 0x90)) {
            const [start, loud] = held.get(pitch);
            held.delete(pitch);
            take({ notes: [...notes(), [base + start, Math.max(beat() - start, 1 / GRID), pitch, loud]] });
          }
        };
      }
      const names = [...access.inputs.values()].map((input) => input.name);
      say(names.length ? "Listening to " + names.join(", ") + "." : "No MIDI keyboard is connected.", !names.length);
    };
    access.onstatechange = listen;
    listen();
  }

  function keyboard() {
    const box = element("keys");
    const names = ["C", "C sharp", "D", "D sharp", "E", "F", "F sharp", "G", "G sharp", "A", "A sharp", "B"];
    for (let pitch = 48; pitch <= 84; pitch++) {
      const key = document.createElement("button");
      const name = names[pitch % 12];
      key.className = name.includes("sharp") ? "black" : "white";
      key.setAttribute("aria-label", name + " " + (Math.floor(pitch / 12) - 1));
      key.tabIndex = pitch === 60 ? 0 : -1;
      key.addEventListener("click", () => press(pitch, 80));
      key.addEventListener("keydown", (event) => {
        const next = { ArrowRight: key.nextSibling, ArrowLeft: key.previousSibling }[event.key];
        if (next) { key.tabIndex = -1; next.tabIndex = 0; next.focus(); event.preventDefault(); event.stopPropagation(); }
      });
      box.append(key);
    }
  }

  function wire(say) {
    const drop = element("drop");
    const file = element("file");
    const chosen = (files) => { if (files.length) take({ file: files[0] }); };
    drop.addEventListener("click", () => file.click());
    drop.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); event.stopPropagation(); file.click(); } });
    file.addEventListener("change", () => { chosen(file.files); file.value = ""; });
    for (const name of ["dragover", "drop", "dragleave"]) {
      document.addEventListener(name, (event) => {
        event.preventDefault();
        drop.classList.toggle("over", name === "dragover");
        if (name === "drop") chosen(event.dataTransfer.files);
      });
    }
    element("rest").addEventListener("click", () => {
      const list = notes();
      take({ notes: list, pen: Math.max(end(list), (source && source.pen) || 0) + Number(element("length").value) });
    });
    element("back").addEventListener("click", () => take(notes().length > 1 ? { notes: notes().slice(0, -1) } : null));
    element("clear").addEventListener("click", () => take(null));
    element("midi").addEventListener("click", () => connect(say));
    keyboard();
  }

  return { of, words, wire, empty: () => !source || (source.notes && !source.notes.length), onchange(then) { changed = then; } };
})();
