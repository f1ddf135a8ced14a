// The browser's own synthesizer: a note is a triangle under a falling envelope, a drum is noise.
"use strict";
const Sound = (() => {
  let audio = null;

  function context() {
    audio = audio || new (window.AudioContext || window.webkitAudioContext)();
    if (audio.state === "suspended") audio.resume();
    return audio;
  }

  function noise(ctx) {
    if (!noise.buffer) {
      noise.buffer = ctx.createBuffer(1, ctx.sampleRate * 0.3, ctx.sampleRate);
      const data = noise.buffer.getChannelData(0);
      for (let i = 0; i < data.length; i++) data[i] = Math.random() * 2 - 1;
    }
    const source = ctx.createBufferSource();
    source.buffer = noise.buffer;
    return source;
  }

  function sound(ctx, out, at, length, pitch, velocity, drum) {
    const gain = ctx.createGain();
    const loud = Math.pow(velocity / 127, 1.5) * (drum ? 0.25 : 0.16);
    gain.gain.setValueAtTime(0, at);
    gain.gain.linearRampToValueAtTime(loud, at + 0.006);
    const end = drum ? at + 0.12 : at + length + 0.08;
    if (!drum) gain.gain.setTargetAtTime(loud * 0.35, at + 0.02, 0.5);
    gain.gain.setTargetAtTime(0, drum ? at + 0.01 : at + length, 0.03);
    const source = drum ? noise(ctx) : ctx.createOscillator();
    if (!drum) {
      source.type = "triangle";
      source.frequency.value = 440 * Math.pow(2, (pitch - 69) / 12);
    }
    source.connect(gain).connect(out);
    source.start(at);
    source.stop(end + 0.2);
  }

  // Where notes go: a gain that is let go of to silence all that was handed over.
  function output(ctx) {
    const out = ctx.createGain();
    out.gain.value = 0.8;
    const limiter = ctx.createDynamicsCompressor();
    out.connect(limiter).connect(ctx.destination);
    return out;
  }

  return { context, output, note: sound };
})();
