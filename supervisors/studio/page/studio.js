// The page: what its buttons and keys do.
"use strict";
(() => {
  const element = (id) => document.getElementById(id);
  const lanes = []; // one, or two beside each other: {take, box, canvas, names}
  const past = []; // what undo goes back to: the takes of the lanes
  let chosen = 0; // the lane that buttons are about
  let swapped = false; // whether the second model is shown first
  let marking = false;
  let info = null;
  const tally = [0, 0, 0]; // first model, second model, neither

  const say = (text, bad) => {
    element("status").textContent = text;
    element("status").classList.toggle("bad", Boolean(bad));
  };
  const guarded = (action) => async (...given) => {
    try { await action(...given); } catch (error) { say(error.message, true); }
  };
  const current = () => lanes[chosen] && lanes[chosen].take;
  const blind = () => element("blind").checked && models().length === 2;
  const revealed = { now: false };
  const models = () => {
    const names = [element("model").value, element("other").value].filter(Boolean);
    return swapped && names.length === 2 ? names.reverse() : names;
  };

  // Lanes.

  function laid(takes) {
    while (lanes.length > takes.length) lanes.pop().box.remove();
    while (lanes.length < takes.length) lanes.push(lane(lanes.length));
    takes.forEach((take, i) => { lanes[i].take = take; });
    chosen = Math.min(chosen, lanes.length - 1);
    drawn();
  }

  function lane(number) {
    const box = document.createElement("div");
    box.className = "lane";
    const bar = document.createElement("div");
    bar.className = "bar";
    const canvas = document.createElement("canvas");
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "slider");
    canvas.setAttribute("aria-label", "piano roll and cursor" + (number ? ", second model" : ""));
    canvas.setAttribute("aria-valuemin", "0");
    box.append(bar, canvas);
    element("lanes").append(box);
    const here = { box, bar, canvas, take: null };
    const second = (event) => Roll.seconds(canvas, here.take, here.take.cursor, event);
    let from = null;
    canvas.addEventListener("pointerdown", (event) => {
      choose(number);
      if (!here.take) return;
      if (marking) { from = second(event); canvas.setPointerCapture(event.pointerId); } else seek(here.take, second(event));
    });
    canvas.addEventListener("pointermove", (event) => { if (from !== null) mark(here.take, from, second(event)); });
    canvas.addEventListener("pointerup", () => { from = null; });
    canvas.addEventListener("focus", () => choose(number));
    canvas.addEventListener("keydown", (event) => {
      const take = here.take;
      if (!take) return;
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step) {
        const bars = take.bars.map((one) => one[1]);
        const next = step > 0 ? bars.find((one) => one > take.cursor + 0.01) : bars.filter((one) => one < take.cursor - 0.01).pop();
        const to = next ?? (bars.length ? (step > 0 ? take.seconds : 0) : take.cursor + step);
        if (event.shiftKey) mark(take, take.marked ? take.marked[0] : take.cursor, to, true);
        else seek(take, to);
      } else if (event.key === "Home") seek(take, 0);
      else if (event.key === "End") seek(take, take.seconds);
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    return here;
  }

  function choose(number) {
    if (Live.take && lanes[number] && Live.take !== lanes[number].take && lanes.some((one) => one.take === Live.take)) {
      const at = Live.take.cursor;
      Live.play(lanes[number].take, Math.min(at, lanes[number].take.seconds)); // the same place in the other piece
    }
    chosen = number;
    drawn();
  }

  function seek(take, seconds) {
    const to = Math.min(Math.max(seconds, 0), take.seconds);
    take.cursor = to;
    if (Live.take === take) Live.play(take, to);
    drawn();
  }

  // Marks whole bars where these are known.
  function mark(take, from, to, moves) {
    let [low, high] = [Math.min(from, to), Math.max(from, to)];
    const bars = [...take.bars.map((bar) => bar[1]), take.seconds];
    if (bars.length > 1) {
      low = Math.max(...bars.filter((bar) => bar <= low + 0.01), 0);
      high = Math.min(...bars.filter((bar) => bar >= high - 0.01), take.seconds);
    }
    take.marked = high > low ? [low, high] : null;
    if (moves) take.cursor = to;
    drawn();
  }

  // What is seen.

  function name(take, number) {
    if (!blind() || revealed.now) return take.model;
    return ["the first", "the second"][number] || "hidden";
  }

  let asked = 0;
  function drawn() {
    if (!asked) asked = requestAnimationFrame(() => { asked = 0; paint(); });
  }

  function paint() {
    lanes.forEach((one, number) => {
      const take = one.take;
      one.box.classList.toggle("chosen", lanes.length > 1 && number === chosen);
      if (!take) return;
      Roll.draw(one.canvas, take, take.cursor, false);
      one.canvas.setAttribute("aria-valuenow", take.cursor.toFixed(1));
      one.canvas.setAttribute("aria-valuemax", take.seconds.toFixed(1));
      one.canvas.setAttribute("aria-valuetext", take.cursor.toFixed(1) + " of " + take.seconds.toFixed(1) + " seconds");
      const head = document.createElement("b");
      head.textContent = name(take, number);
      const facts = document.createElement("span");
      facts.className = "facts";
      facts.textContent = told(take);
      one.bar.replaceChildren(head, facts);
    });
    const take = current();
    element("play").textContent = Live.take ? "Pause" : "Play";
    element("play").setAttribute("aria-pressed", String(Boolean(Live.take)));
    element("stop").disabled = !Takes.all.some((one) => one.streaming);
    for (const id of ["play", "continue", "variations", "keep", "export", "score", "mark"]) element(id).disabled = !take;
    element("undo").disabled = !past.length;
    element("fill").disabled = !take || !take.marked;
    element("verdict").hidden = !(blind() && lanes.length === 2 && !revealed.now);
    element("prompted").textContent = Prompt.words();
    element("clear").hidden = Prompt.empty();
    listed();
  }

  const ENDS = { ended: "ended by itself", complete: "complete", length: "cut at its length", stopped: "stopped", filled: "bars drawn anew" };

  function told(take) {
    const parts = [take.cursor.toFixed(1) + " of " + take.seconds.toFixed(1) + " s", take.notes.size + " notes", take.drawn + " tokens drawn"];
    if (take.streaming) parts.push(take.drawn ? "drawing, " + take.pace.toFixed(0) + " × real time" : "drawing");
    else if (take.why) parts.push(ENDS[take.why] || take.why);
    if (take.nats !== null) parts.push(take.nats.toFixed(2) + " nats a note");
    return parts.join(" · ");
  }

  function listed() {
    const list = document.querySelector("#takes ol");
    element("none").hidden = Takes.all.length > 0;
    for (const take of Takes.all) {
      if (!take.item) take.item = item(take);
      if (take.item.parentNode !== list) list.append(take.item);
      const shown = lanes.findIndex((one) => one.take === take);
      const hidden = blind() && !revealed.now;
      const from = take.parent ? ", from take " + take.parent.number + " at " + take.at.toFixed(1) + " s" : "";
      take.item.querySelector(".words").textContent = "Take " + take.number + from + (hidden ? "" : " · " + take.model);
      take.item.querySelector(".take").setAttribute("aria-current", String(shown >= 0));
      if (take.painted !== take.notes.size || shown >= 0) Roll.draw(take.item.querySelector("canvas"), take, 0, true);
      take.painted = take.notes.size;
    }
    for (const one of [...list.children]) if (!Takes.all.some((take) => take.item === one)) one.remove();
  }

  function item(take) {
    const row = document.createElement("li");
    const button = document.createElement("button");
    button.className = "take";
    const words = document.createElement("span");
    words.className = "words facts";
    button.append(words, document.createElement("canvas"));
    button.addEventListener("click", () => {
      remember();
      Live.pause();
      laid([take]);
      chosen = 0;
      Live.play(take, take.cursor < take.seconds - 0.1 ? take.cursor : 0);
    });
    const away = document.createElement("button");
    away.className = "away";
    away.textContent = "×";
    away.setAttribute("aria-label", "forget take " + take.number);
    away.addEventListener("click", () => {
      if (Live.take === take) Live.pause();
      Takes.remove(take);
      const rest = lanes.map((one) => one.take).filter((one) => one !== take);
      laid(rest);
    });
    row.append(button, away);
    return row;
  }

  // What buttons do.

  const remember = () => {
    const takes = lanes.map((one) => one.take);
    if (takes.length) past.push({ takes, cursors: takes.map((take) => take.cursor) });
    if (past.length > 100) past.shift();
  };

  function wishes(parent) {
    const wish = Settings.wish();
    if (wish.endless) { delete wish.bars; delete wish.length; }
    if (parent && wish.seed !== undefined && parent.seed === wish.seed) delete wish.seed; // else it would draw the same
    return wish;
  }

  function started(takes) {
    chosen = Math.min(chosen, takes.length - 1);
    laid(takes);
    Live.play(takes[chosen], takes[chosen].cursor);
    lanes[chosen].canvas.focus({ preventScroll: true }); // so that space is play and pause
    say("");
  }

  const fresh = guarded(async () => {
    if (blind()) { swapped = Math.random() < 0.5; revealed.now = false; }
    const wish = wishes();
    if (models().length === 2 && wish.seed === undefined) wish.seed = Math.floor(Math.random() * 1e9);
    if (!Prompt.empty()) say("Reading the prompt.");
    const prompts = Prompt.empty() ? models().map(() => null) : await Promise.all(models().map(Prompt.of));
    remember();
    Live.pause();
    const takes = models().map((model, i) => Takes.begin(model, prompts[i] ? prompts[i].tokens : [], wish, null, 0));
    started(takes);
    const cut = prompts.find((prompt) => prompt && prompt.cut);
    if (cut) say("The prompt is long: its last " + cut.cut + " tokens were left out.");
  });

  const goOn = guarded(async () => {
    const parent = current();
    const [tokens, at] = await Takes.upTo(parent, parent.cursor);
    remember();
    Live.pause();
    if (parent.streaming) Takes.stop(parent);
    const take = Takes.begin(parent.model, tokens, wishes(parent), parent, at);
    take.cursor = at;
    const shown = lanes.map((one) => one.take);
    shown[chosen] = take;
    started(shown);
  });

  const variations = guarded(async () => {
    const parent = current();
    const [tokens, at] = await Takes.upTo(parent, parent.cursor);
    const wish = wishes(parent);
    delete wish.endless;
    if (!wish.bars && !wish.length) wish.length = 256;
    const seed = wish.seed ?? Math.floor(Math.random() * 1e9);
    remember();
    Live.pause();
    if (parent.streaming) Takes.stop(parent);
    const takes = [0, 1, 2, 3].map((row) => Takes.begin(parent.model, tokens, { ...wish, seed, row }, parent, at));
    takes.forEach((take) => { take.cursor = Math.max(at - 1, 0); });
    chosen = 0;
    started([takes[0]]);
    say("Four takes from " + at.toFixed(1) + " s on; press one to hear it.");
  });

  function undo() {
    const before = past.pop();
    if (!before) return;
    Live.pause();
    const there = before.takes.filter((take) => Takes.all.includes(take));
    there.forEach((take) => { take.cursor = before.cursors[before.takes.indexOf(take)]; });
    laid(there);
  }

  function toggle() {
    if (Live.take) { Live.pause(); return; }
    const take = current();
    if (take) Live.play(take, take.cursor < take.seconds - 0.05 || take.streaming ? take.cursor : 0);
  }

  const keep = guarded(async () => {
    const take = current();
    const about = { seed: take.seed, wish: take.wish, prompt_tokens: take.tokens.length - take.drawn };
    const { files } = await Api.json("keep", { model: take.model, tokens: take.tokens, about });
    say("Kept: " + files[0]);
  });

  const exported = guarded(async () => {
    const take = current();
    const answer = await Api.call("export", { model: take.model, tokens: take.tokens, format: element("format").value });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await answer.blob());
    const ending = /filename="piece([^"]*)"/.exec(answer.headers.get("content-disposition"))[1];
    link.download = (blind() && !revealed.now ? "take" : take.model) + "_" + take.number + ending;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    say("Exported " + link.download + ".");
  });

  const scored = guarded(async () => {
    const take = current();
    const found = await Api.json("score", { model: take.model, tokens: take.tokens });
    take.nats = found.nats_per_note;
    say(found.nats_per_note === null ? "There is no note to score." : "");
    drawn();
  });

  const filled = guarded(async () => {
    const take = current();
    const bars = take.bars.map((bar, i) => [i, bar[1]]).filter(([, start]) => start >= take.marked[0] - 0.01 && start < take.marked[1] - 0.01);
    if (!bars.length) throw new Error("This model does not know its bars.");
    const wish = wishes(take);
    for (const name of ["bars", "length", "endless"]) delete wish[name];
    const asked = { ...wish, model: take.model, tokens: take.tokens, first: bars[0][0], count: bars.length };
    say("Drawing " + (bars.length === 1 ? "a bar" : bars.length + " bars") + " anew.");
    const found = await Api.json("fill", asked);
    remember();
    const at = take.marked[0];
    const next = Takes.done(take.model, { ...found, drawn: take.drawn }, wish, take, at);
    next.marked = take.marked;
    next.cursor = Math.max(at - 1, 0);
    const shown = lanes.map((one) => one.take);
    shown[chosen] = next;
    started(shown);
    say("One of " + found.ways + " ways, taken by how well the rest goes on from it.");
  });

  function prefer(which) {
    revealed.now = true;
    const place = which < 0 ? 2 : (swapped ? 1 - which : which);
    tally[place] += 1;
    const [first, second] = [element("model").value, element("other").value];
    element("tally").textContent = first + " " + tally[0] + ", " + second + " " + tally[1] + ", neither " + tally[2];
    say("The first was " + models()[0] + ", the second " + models()[1] + ". So far: " + element("tally").textContent + ".");
    drawn();
  }

  const changedModel = guarded(async () => {
    const chosenModel = element("model").value;
    const { model } = await Api.json("info?" + new URLSearchParams({ model: chosenModel }));
    const memory = model.constant_memory ? "plays for ever in constant memory" : "plays at most " + model.most_tokens.toLocaleString("en") + " tokens";
    element("about").textContent = element("blind").checked && element("other").value ? "" : model.backbone + ", " + model.tokenizer + ", " + (model.parameters / 1e6).toFixed(1) + " million parameters, " + memory;
    Settings.showControls(model.controls, info.settings.guidance);
    drawn();
  });

  const keys = { n: "new", " ": "play", s: "stop", c: "continue", v: "variations", u: "undo", k: "keep", e: "export", l: "score", m: "mark", f: "fill" };

  function wire() {
    const actions = {
      new: fresh, play: toggle, stop: () => Takes.all.forEach((take) => take.streaming && Takes.stop(take)), continue: goOn,
      variations, undo, keep, export: exported, score: scored, fill: filled,
      mark: () => { marking = !marking; element("mark").setAttribute("aria-pressed", String(marking)); },
    };
    for (const [id, action] of Object.entries(actions)) element(id).addEventListener("click", action);
    for (const button of document.querySelectorAll("[data-prefer]")) button.addEventListener("click", () => prefer(Number(button.dataset.prefer)));
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input:not([type=range]):not([type=checkbox]), select, textarea, summary")) return;
      if (event.key === " " && event.target.closest("button, [role=button], input")) return;
      const button = element(keys[event.key.toLowerCase()]);
      if (button && !button.disabled) { event.preventDefault(); button.click(); }
    });
    for (const id of ["model", "other", "blind"]) element(id).addEventListener("change", changedModel);
    window.addEventListener("resize", drawn);
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawn);
    Live.onchange(drawn);
    Takes.onchange((error) => { if (error) say(error, true); drawn(); });
    Prompt.onchange(drawn);
    Prompt.wire(say);
    setInterval(() => { if (Live.take) drawn(); }, 40);
  }

  const begin = guarded(async () => {
    wire();
    info = await Api.json("info");
    for (const model of info.models) {
      element("model").append(new Option(model, model));
      element("other").append(new Option(model, model));
    }
    for (const format of info.formats) element("format").append(new Option(format, format));
    element("reads").textContent = info.reads.join(" ") + ", at most " + info.limits.upload_megabytes + " MB; it stays on this machine";
    element("file").accept = info.reads.join(",");
    Settings.show(info.settings);
    await changedModel();
    say(info.models.length ? "" : "There is no trained model here.", true);
  });

  begin();
})();
