// A blind listening test: one trial after another, every answer kept at once in the browser and, where a server is
// there, with it. Nothing says which system a clip is of.
"use strict";
(() => {
  const test = JSON.parse(document.getElementById("test").textContent);
  const main = document.getElementById("trial");
  const served = location.protocol.startsWith("http");
  let state = null;

  const key = () => "listening-" + test.id + "-" + state.participant;
  const keep = () => {
    localStorage.setItem(key(), JSON.stringify(state));
    if (served) {
      fetch("ratings", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(state) })
        .then((answer) => note(answer.ok ? "" : "The server did not take the answers; they are kept in this browser."))
        .catch(() => note("The server cannot be reached; the answers are kept in this browser."));
    }
  };
  const note = (text) => { document.getElementById("note").textContent = text; };

  function hash(text) { // FNV-1a, so that a code always has the same order
    let h = 2166136261;
    for (const c of text) { h ^= c.codePointAt(0); h = Math.imul(h, 16777619); }
    return h >>> 0;
  }

  document.getElementById("begin").addEventListener("submit", (event) => {
    event.preventDefault();
    const participant = document.getElementById("code").value.trim();
    if (!participant) return;
    const order = /^\d+$/.test(participant) ? Number(participant) : hash(participant);
    state = { format: 1, test: test.id, participant, order: order % test.orders.length, answers: [], checks: [] };
    const before = localStorage.getItem(key());
    if (before) state = JSON.parse(before);
    event.target.hidden = true;
    next();
  });

  function trials() {
    const whole = test.orders[state.order].map((clips) => ({ clips: [].concat(clips) }));
    whole.splice(Math.floor(whole.length / 2), 0, { check: test.check });
    return [{ clips: [].concat(test.training), training: true }, ...whole];
  }

  function next() {
    const all = trials();
    const at = state.answers.length + state.checks.length + (state.trained ? 1 : 0);
    if (at >= all.length) return finish();
    show(all[at], at, all.length);
  }

  function show(trial, at, count) {
    main.replaceChildren();
    const head = document.createElement("h2");
    head.textContent = trial.training ? "For practice (this one does not count)" : "Trial " + at + " of " + (count - 1);
    main.append(head);
    const form = document.createElement("form");
    const heard = new Set();
    const clips = trial.clips || [];
    clips.forEach((clip, i) => {
      const label = document.createElement("p");
      label.textContent = clips.length > 1 ? "Excerpt " + "AB"[i] : "Listen to the excerpt to its end, as often as you like.";
      const audio = document.createElement("audio");
      audio.controls = true;
      audio.preload = "auto";
      audio.src = "audio/" + clip + ".wav";
      audio.addEventListener("ended", () => { heard.add(clip); ready(); });
      form.append(label, audio);
    });
    if (trial.check) {
      const ask = document.createElement("p");
      ask.textContent = "No music here, only a check: please choose " + trial.check + " on every scale.";
      form.append(ask);
    }
    const pairs = test.kind === "pairs"; // a check, which has no clips, asks what all trials ask
    const scales = pairs ? ["preference"] : test.scales;
    const choices = pairs ? ["A", "no preference", "B"] : ["1", "2", "3", "4", "5"];
    for (const scale of scales) {
      const set = document.createElement("fieldset");
      const legend = document.createElement("legend");
      legend.textContent = pairs ? "Which do you prefer?" : scale + " (1 bad, 5 excellent)";
      set.append(legend);
      for (const choice of choices) {
        const label = document.createElement("label");
        const radio = document.createElement("input");
        radio.type = "radio"; radio.name = scale; radio.value = choice; radio.required = true;
        label.append(radio, " " + choice + " ");
        set.append(label);
      }
      form.append(set);
    }
    const comment = document.createElement("textarea");
    comment.rows = 2; comment.maxLength = 2000; comment.placeholder = "A comment, if you like";
    const button = document.createElement("button");
    button.textContent = "Next";
    const ready = () => { button.disabled = !clips.every((clip) => heard.has(clip)) && !trial.training; };
    form.append(comment, button);
    ready();
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const values = Object.fromEntries(new FormData(form));
      if (trial.training) state.trained = true;
      else if (trial.check) state.checks.push({ asked: trial.check, values });
      else state.answers.push({ clips, values, comment: comment.value, at: new Date().toISOString() });
      keep();
      next();
    });
    main.append(form);
  }

  function finish() {
    main.replaceChildren();
    const text = document.createElement("p");
    text.textContent = "Thank you: all is answered.";
    const link = document.createElement("a");
    link.textContent = served ? "Keep a copy of your answers" : "Download your answers, and send the file to whoever asked you";
    link.download = "ratings-" + state.participant.replace(/[^\w-]/g, "_") + ".json";
    link.href = URL.createObjectURL(new Blob([JSON.stringify(state)], { type: "application/json" }));
    main.append(text, link);
  }
})();
