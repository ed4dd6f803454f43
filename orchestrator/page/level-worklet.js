/** Measures how loud a signal is, on the audio thread, so that a busy page does not blur when a sound began. */

/** 10 ms at 48 kHz is 480 samples; blocks come in 128. */
const BLOCKS = 4;

class LevelProcessor extends AudioWorkletProcessor {
  constructor() {
    super();
    this._sum = 0;
    this._count = 0;
    this._blocks = 0;
  }

  /** @param {Float32Array[][]} inputs */
  process(inputs) {
    for (const sample of inputs[0]?.[0] ?? []) this._sum += sample * sample;
    this._count += inputs[0]?.[0]?.length ?? 128;
    this._blocks += 1;
    if (this._blocks === BLOCKS) {
      const rms = Math.sqrt(this._sum / this._count);
      this.port.postMessage({ timeS: currentTime, levelDb: rms > 1e-6 ? 20 * Math.log10(rms) : -120 });
      this._sum = this._count = this._blocks = 0;
    }
    return true;
  }
}

registerProcessor("level", LevelProcessor);
