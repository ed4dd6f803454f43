// Records what a person would hear and see: the remote sound block by block, and every painted frame, both on
// performance.now(). With window.useScriptedMicrophone, speech is injected at exact times instead of a fake device's file.
(() => {
  const Real = window.RTCPeerConnection;
  const capture = {
    peers: [], audio: [], frames: [], pictures: [], captions: [], skew: [], events: [],
    keepPictures: false, size: 512, readStamps: false, stamps: [],
  };
  window.capture = capture;

  window.RTCPeerConnection = class extends Real {
    constructor(...given) {
      super(...given);
      capture.peers.push(this);
      this.addEventListener("track", (event) => {
        if (event.track.kind === "audio") listen(event.track);
      });
    }
  };

  const RealSocket = window.WebSocket;
  window.WebSocket = class extends RealSocket {
    constructor(...given) {
      super(...given);
      capture.socket = this;
      this.addEventListener("message", (message) => {
        const parsed = JSON.parse(message.data);
        if (parsed.type === "event") capture.events.push({ at: performance.now(), event: parsed.data });
        if (parsed.type === "config") capture.conversation = parsed.data.conversation;
        if (parsed.type === "error") capture.error = parsed.error;
      });
    }
  };

  const WORKLET = `
    registerProcessor("tap", class extends AudioWorkletProcessor {
      process(inputs) {
        const channel = inputs[0][0];
        if (channel) this.port.postMessage({ time: currentTime, samples: channel.slice() });
        return true;
      }
    });`;

  async function listen(track) {
    const context = new AudioContext({ sampleRate: 48000, latencyHint: "interactive" });
    await context.audioWorklet.addModule(URL.createObjectURL(new Blob([WORKLET], { type: "text/javascript" })));
    const tap = new AudioWorkletNode(context, "tap");
    tap.port.onmessage = ({ data }) => capture.audio.push({ arrived: performance.now(), ...data });
    context.createMediaStreamSource(new MediaStream([track])).connect(tap);
    // A node is only pulled when it leads somewhere.
    const mute = new GainNode(context, { gain: 0 });
    tap.connect(mute).connect(context.destination);
  }

  // The 32 bits that a bench wrote as dark and light blocks along the top of the picture.
  const strip = new OffscreenCanvas(32, 1).getContext("2d", { willReadFrequently: true });
  function stampOf(video) {
    strip.drawImage(video, 0, 4, video.videoWidth, 8, 0, 0, 32, 1);
    const pixels = strip.getImageData(0, 0, 32, 1).data;
    let stamp = 0;
    for (let bit = 0; bit < 32; bit++) stamp = stamp * 2 + (pixels[bit * 4 + 1] > 127 ? 1 : 0);
    return stamp;
  }

  capture.watch = (video) => {
    const painted = (_, meta) => {
      capture.frames.push(meta.expectedDisplayTime);
      if (capture.readStamps) capture.stamps.push([stampOf(video), performance.timeOrigin + meta.expectedDisplayTime]);
      if (capture.keepPictures) {
        const index = capture.frames.length - 1;
        createImageBitmap(video, { resizeWidth: capture.size, resizeHeight: capture.size }).then(
          (bitmap) => capture.pictures.push({ index, bitmap }));
      }
      video.requestVideoFrameCallback(painted);
    };
    video.requestVideoFrameCallback(painted);
    setInterval(async () => {
      const times = {};
      for (const stat of (await capture.peers.at(-1).getStats()).values()) {
        if (stat.type === "inbound-rtp") times[stat.kind] = stat.estimatedPlayoutTimestamp;
      }
      if (times.audio && times.video) capture.skew.push(times.audio - times.video);
    }, 250);
  };

  // What was heard, as one run of samples with the performance time of its first.
  capture.sound = () => {
    const blocks = capture.audio;
    const out = new Float32Array(blocks.length * 128);
    blocks.forEach((block, index) => out.set(block.samples, index * 128));
    const bytes = new Uint8Array(out.buffer);
    let text = "";
    for (let at = 0; at < bytes.length; at += 32768) text += String.fromCharCode(...bytes.subarray(at, at + 32768));
    return {
      samples: btoa(text),
      times: blocks.map((block) => block.time),
      // The block that came through soonest shows how the context's clock lies to the page's.
      offset: Math.min(...blocks.map((block) => block.arrived - block.time * 1000)),
    };
  };

  capture.jpegs = async (from, to) => {
    const canvas = new OffscreenCanvas(capture.size, capture.size);
    const drawing = canvas.getContext("2d");
    const out = [];
    for (const { index, bitmap } of capture.pictures.slice(from, to)) {
      drawing.drawImage(bitmap, 0, 0);
      const bytes = new Uint8Array(await (await canvas.convertToBlob({ type: "image/jpeg", quality: 0.9 })).arrayBuffer());
      let text = "";
      for (let at = 0; at < bytes.length; at += 32768) text += String.fromCharCode(...bytes.subarray(at, at + 32768));
      out.push({ index, jpeg: btoa(text) });
    }
    return out;
  };

  if (window.useScriptedMicrophone) {
    const context = new AudioContext({ sampleRate: 48000 });
    const destination = context.createMediaStreamDestination();
    // A source that is silent keeps the track running.
    const hush = new ConstantSourceNode(context, { offset: 0 });
    hush.connect(destination);
    hush.start();
    capture.microphone = context;
    navigator.mediaDevices.getUserMedia = async () => {
      await context.resume();
      return destination.stream.clone();
    };
    // Speak samples now (plus 50 ms). Returns the performance time at which the first is heard by the track.
    capture.speak = (base64) => {
      const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
      const samples = new Float32Array(bytes.buffer);
      const buffer = context.createBuffer(1, samples.length, 48000);
      buffer.copyToChannel(samples, 0);
      const source = new AudioBufferSourceNode(context, { buffer });
      source.connect(destination);
      const at = context.currentTime + 0.05;
      source.start(at);
      return performance.now() + (at - context.currentTime) * 1000;
    };
  }
})();
