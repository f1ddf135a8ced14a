// Answers a listening test's page as a participant would, in a document of a few lines: node listening_page.js SCRIPT
// TEST PARTICIPANT KEPT says in JSON what was asked, what was sent, and what lies in the browser's store.
"use strict";
const [, , script, test, participant, kept] = process.argv;
const asked = [], sent = [], store = new Map(JSON.parse(kept));

class Element {
  constructor(tag) { this.tag = tag; this.children = []; this.listeners = {}; this.textContent = ""; }
  append(...more) { this.children.push(...more); }
  replaceChildren() { this.children = []; }
  addEventListener(name, heard) { (this.listeners[name] ||= []).push(heard); }
  tell(name) { for (const heard of this.listeners[name] || []) heard({ target: this, preventDefault() {} }); }
  all(tag) {
    const mine = this.children.filter((child) => child instanceof Element);
    return mine.flatMap((child) => [...(child.tag === tag ? [child] : []), ...child.all(tag)]);
  }
}
const named = Object.fromEntries(["test", "trial", "note", "begin", "code"].map((id) => [id, new Element(id)]));
named.test.textContent = test;
named.code.value = participant;
global.document = { getElementById: (id) => named[id], createElement: (tag) => new Element(tag) };
global.location = { protocol: "http:" };
global.localStorage = { getItem: (key) => store.get(key) ?? null, setItem: (key, value) => store.set(key, value) };
global.fetch = (path, how) => { sent.push(JSON.parse(how.body)); return Promise.resolve({ ok: true }); };
global.FormData = class {
  constructor(form) { this.form = form; }
  *[Symbol.iterator]() { for (const one of this.form.all("input")) if (one.checked) yield [one.name, one.value]; }
};
URL.createObjectURL = () => "blob:";
(0, eval)(require("fs").readFileSync(script, "utf8"));

named.begin.tell("submit");
for (let form; (form = named.trial.all("form")[0]); form.tell("submit")) {
  const audio = form.all("audio"), button = form.all("button")[0], before = button.disabled;
  const check = form.children.map((child) => child.textContent).find((text) => text.includes("No music")) || "";
  for (const one of audio) one.tell("ended");
  const inputs = form.all("input");
  asked.push([named.trial.all("h2")[0].textContent, audio.map((one) => one.src), before, button.disabled, check]);
  const wish = check ? (inputs.length > 3 ? "2" : "no preference") : inputs.length > 3 ? String(asked.length % 5 + 1) : "B";
  for (const one of inputs) one.checked = one.value === wish;
}
const link = named.trial.all("a")[0];
console.log(JSON.stringify({ asked, sent, store: [...store], hidden: named.begin.hidden === true, file: link.download }));
