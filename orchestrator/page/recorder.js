/** Records a voice by the microphone, as it is: what helps a conversation would be heard in a voice made of it. */

const TICK_MS = 100;
/** What browsers record into, the best first; the server reads all of them. */
const FORMATS = ["audio/webm;codecs=opus", "audio/ogg;codecs=opus", "audio/mp4"];

export class Recorder {
  /**
   * @param {(seconds: number, loudness: number) => void} onTick  Ten times a second; loudness from 0 to 1.
   */
  constructor(onTick) {
    this._onTick = onTick;
    /** @type {MediaRecorder | undefined} */
    this._recorder = undefined;
    /** @type {() => void} */
    this._release = () => {};
  }

  get isRecording() {
    return this._recorder?.state === "recording";
  }

  /** @throws {DOMException} as getUserMedia does; words.js says each in words. */
  async start() {
    if (!window.isSecureContext) throw new DOMException("not a secure page", "InsecureContextError");
    if (!navigator.mediaDevices?.getUserMedia) throw new DOMException("no media devices", "NotSupportedError");
    const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false, channelCount: 1 };
    const stream = await navigator.mediaDevices.getUserMedia({ audio });
    const context = new AudioContext();
    const analyser = context.createAnalyser();
    context.createMediaStreamSource(stream).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    const began = performance.now();
    const timer = window.setInterval(() => {
      analyser.getFloatTimeDomainData(samples);
      this._onTick((performance.now() - began) / 1000, samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0));
    }, TICK_MS);
    this._release = () => {
      window.clearInterval(timer);
      for (const track of stream.getTracks()) track.stop();
      void context.close();
    };
    const mimeType = FORMATS.find((format) => MediaRecorder.isTypeSupported(format));
    this._recorder = new MediaRecorder(stream, { mimeType, audioBitsPerSecond: 128_000 });
    this._recorder.start();
  }

  /** Ends the recording. @returns {Promise<File>} */
  async stop() {
    const recorder = this._recorder;
    if (!recorder) throw new Error("Nothing is being recorded.");
    const data = new Promise((resolve) => recorder.addEventListener("dataavailable", ({ data: blob }) => resolve(blob), { once: true }));
    recorder.stop();
    const blob = await data;
    this.giveUp();
    return new File([blob], "recording", { type: blob.type });
  }

  /** Ends a recording that nobody wants. */
  giveUp() {
    if (this.isRecording) this._recorder?.stop();
    this._recorder = undefined;
    this._release();
    this._release = () => {};
  }
}
