// Calls of the studio's API; every error is one line of text.
"use strict";
const Api = (() => {
  const token = new URLSearchParams(location.search).get("token") || "";
  history.replaceState(null, "", location.href); // the address stays, so that a reload works
  const headers = { Authorization: "Bearer " + token };

  async function checked(answer) {
    if (answer.ok) return answer;
    let text = "the studio answered " + answer.status;
    try { text = (await answer.json()).error || text; } catch { /* no JSON: the number is all there is to say */ }
    throw new Error(text);
  }

  async function call(path, body, signal) {
    const json = body !== undefined && !(body instanceof Blob);
    const asked = body === undefined ? { headers } : {
      method: "POST",
      headers: json ? { ...headers, "Content-Type": "application/json" } : headers,
      body: json ? JSON.stringify(body) : body,
    };
    try {
      return await checked(await fetch(path, { ...asked, signal }));
    } catch (error) {
      if (error instanceof TypeError) throw new Error("the studio cannot be reached; is it still running?");
      throw error;
    }
  }

  const json = async (path, body) => (await call(path, body)).json();

  // Reads server-sent events until the last, and hands each to `heard(name, data)`.
  async function events(path, body, signal, heard) {
    const reader = (await call(path, body, signal)).body.getReader();
    const decoder = new TextDecoder();
    let text = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      text += decoder.decode(value, { stream: true });
      const parts = text.split("\n\n");
      text = parts.pop();
      for (const part of parts) {
        const [, name, data] = /^event: (\w+)\ndata: (.*)$/.exec(part);
        if (name === "error") throw new Error(JSON.parse(data).error);
        heard(name, JSON.parse(data));
      }
    }
  }

  return { json, call, events };
})();
