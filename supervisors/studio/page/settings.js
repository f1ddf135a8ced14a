// Fields and sliders of what may be asked, made from what /info says.
"use strict";
const Settings = (() => {
  const LABELS = {
    temperature: "Temperature", top_p: "Top p", top_k: "Top k", min_p: "Min p", repetition_penalty: "Repetition penalty",
    bars: "Bars", length: "Most tokens", seed: "Seed", guidance: "Guidance",
  };
  const values = {}; // of the fields that were set
  const controls = {};

  function field(name, label, limits, store) {
    const row = document.createElement("div");
    row.className = "field";
    const title = document.createElement("label");
    title.textContent = label;
    title.htmlFor = "set-" + name;
    title.title = limits.about || "";
    const number = document.createElement("input");
    Object.assign(number, { type: "number", id: "set-" + name, min: limits.least, max: limits.most, step: limits.step || 1 });
    if (limits.default !== null && limits.default !== undefined) number.value = limits.default;
    else number.placeholder = limits.placeholder || "any";
    row.append(title);
    const set = (text) => {
      if (text === "") delete store[name];
      else store[name] = limits.text ? text : Number(text);
    };
    if (limits.step) {
      const slider = document.createElement("input");
      Object.assign(slider, { type: "range", min: limits.least, max: limits.most, step: limits.step, value: limits.default ?? limits.least });
      slider.setAttribute("aria-label", label);
      slider.addEventListener("input", () => { number.value = slider.value; set(slider.value); });
      number.addEventListener("input", () => { if (number.value !== "") slider.value = number.value; set(number.value); });
      row.append(slider, number);
    } else {
      number.className = "wide";
      number.addEventListener("input", () => set(number.value));
      row.append(number);
    }
    return row;
  }

  function show(ranges) {
    const box = document.getElementById("fields");
    box.replaceChildren();
    for (const name of ["temperature", "top_p", "top_k", "min_p", "repetition_penalty", "bars", "length", "seed"]) {
      box.append(field(name, LABELS[name], ranges[name], values));
    }
    const row = document.createElement("label");
    row.className = "check";
    const box2 = document.createElement("input");
    Object.assign(box2, { type: "checkbox", id: "set-endless" });
    box2.addEventListener("change", () => { values.endless = box2.checked; });
    row.append(box2, "endless: goes on until it is stopped");
    box.append(row);
  }

  // A control whose words hold "from A to B" is a slider; any other a field of text.
  function showControls(described, guidance) {
    const box = document.getElementById("controls");
    box.replaceChildren();
    for (const name of Object.keys(controls)) delete controls[name];
    delete values.guidance;
    for (const [name, { describe, example }] of Object.entries(described)) {
      const range = /number from (-?[\d.]+) to (-?[\d.]+)/.exec(describe);
      const label = name.replace(/_/g, " ");
      let row;
      if (range) {
        const step = describe.includes("whole") ? 1 : 0.1;
        row = field("control-" + name, label, { least: range[1], most: range[2], step, default: null, placeholder: "open", text: true }, proxy(name));
      } else {
        row = field("control-" + name, label, { default: null, text: true }, proxy(name));
        Object.assign(row.querySelector("input"), { type: "text", placeholder: "open, e.g. " + example });
      }
      const about = document.createElement("small");
      about.textContent = describe;
      row.append(about);
      box.append(row);
    }
    if (Object.keys(described).length) box.append(field("guidance", LABELS.guidance, guidance, values));
  }

  // A store whose one field is the control of that name.
  const proxy = (name) => new Proxy({}, {
    set(_, __, value) { controls[name] = value; return true; },
    deleteProperty() { delete controls[name]; return true; },
  });

  // What to ask for, beside model and tokens.
  function wish() {
    const asked = { ...values };
    if (Object.keys(controls).length) asked.controls = { ...controls };
    else delete asked.guidance;
    return asked;
  }

  return { show, showControls, wish };
})();
