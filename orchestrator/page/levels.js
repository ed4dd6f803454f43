/** How loud the microphone and the avatar are, on one clock. */

/** @typedef {(levelDb: number, timeS: number) => void} OnLevel  dBFS, -120 to 0, and the audio clock. */

export class Levels {
  constructor() {
    /** @type {AudioContext | undefined} */
    this._context = undefined;
    /** @type {Map<string, AudioNode[]>} */
    this._nodes = new Map();
  }

  /**
   * Must follow a click, or the browser keeps it asleep. Without it, as on a page that is not secure and has no
   * worklets, nothing is measured.
   */
  async open() {
    if (this._context || !window.isSecureContext) return;
    const context = new AudioContext({ latencyHint: "interactive" });
    await context.audioWorklet.addModule(new URL("level-worklet.js", import.meta.url));
    await context.resume();
    this._context = context;
  }

  /**
   * Follows the sound of a stream until another one takes its name; it is measured and not played.
   * @param {"microphone" | "avatar"} name
   * @param {MediaStream | undefined} stream
   * @param {OnLevel} onLevel  About 90 times a second.
   */
  watch(name, stream, onLevel) {
    for (const node of this._nodes.get(name) ?? []) node.disconnect();
    this._nodes.delete(name);
    if (!this._context || !stream?.getAudioTracks().length) return;
    const source = this._context.createMediaStreamSource(stream);
    const meter = new AudioWorkletNode(this._context, "level", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
    meter.port.onmessage = ({ data }) => onLevel(data.levelDb, data.timeS);
    source.connect(meter);
    this._nodes.set(name, [source, meter]);
  }

  /** The audio clock, in seconds; 0 while nothing is measured. */
  now() {
    return this._context?.currentTime ?? 0;
  }
}

/** Louder than this is speech, at the microphone after automatic gain. */
const VOICED_DB = -42;
/** The first sample of the avatar above this is "heard" (the definition of the project's latency figures). */
const HEARD_DB = -50;
/** The avatar must have been still for this long before its next sound counts as an onset. */
const STILL_S = 0.25;
/** A sound that comes later than this answers nothing. */
const MAX_S = 30;

/**
 * Measures from the person's last word to the first sound of the answer, both as this browser has them.
 * Pure: every time comes in from outside.
 */
export class HeardTimer {
  /** @param {(heardMs: number) => void} onHeard */
  constructor(onHeard) {
    this._onHeard = onHeard;
    this._turnEndS = Number.NEGATIVE_INFINITY;
    this._loudS = Number.NEGATIVE_INFINITY;
  }

  /** @type {OnLevel} */
  microphone(levelDb, timeS) {
    if (levelDb > VOICED_DB) this._turnEndS = timeS;
  }

  /**
   * Typed words end a turn when they are sent. Where they stop an answer, no silence parts it from the next one, and
   * nothing is measured.
   * @param {number} timeS
   */
  typed(timeS) {
    const isStill = timeS - this._loudS > STILL_S;
    this._turnEndS = isStill ? timeS : Number.NEGATIVE_INFINITY;
  }

  /** @type {OnLevel} */
  avatar(levelDb, timeS) {
    if (levelDb <= HEARD_DB) return;
    const isOnset = timeS - this._loudS > STILL_S;
    this._loudS = timeS;
    const heardS = timeS - this._turnEndS;
    if (isOnset && heardS < MAX_S) {
      this._turnEndS = Number.NEGATIVE_INFINITY;
      this._onHeard(heardS * 1000);
    }
  }
}

/** The five bars of the microphone button. */
export class Wave {
  /** @param {HTMLElement} element */
  constructor(element) {
    this._bars = /** @type {HTMLElement[]} */ ([...element.children]);
    this._levels = this._bars.map(() => 0);
    this._peak = 0;
    this._lastS = 0;
  }

  /** @type {OnLevel} */
  show(levelDb, timeS) {
    this._peak = Math.max(this._peak, Math.min(1, Math.max(0, (levelDb + 60) / 45)));
    if (timeS - this._lastS < 0.07 && timeS >= this._lastS) return;
    this._lastS = timeS;
    this._levels = [...this._levels.slice(1), this._peak];
    this._peak = 0;
    this._bars.forEach((bar, i) => (bar.style.transform = `scaleY(${0.14 + 0.86 * this._levels[i]})`));
  }

  rest() {
    this._levels.fill(0);
    for (const bar of this._bars) bar.style.transform = "";
  }
}
