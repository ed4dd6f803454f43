/** The drawer "Details": turns, connection, expression. */

import { byId, make } from "./dom.js";
import { Sampler } from "./stats.js";
import { Tiles } from "./tiles.js";
import { Turns } from "./turns.js";

/** @typedef {import("./stats.js").Sample} Sample */

const SAMPLE_MS = 1_000;
const MOODS = ["neutral", "happy", "sad", "surprised", "angry", "disgusted", "fearful"];
const INTENSITY = 0.7;

export class Drawer {
  /**
   * @param {() => RTCPeerConnection | undefined} connection  The one to measure, if there is one.
   * @param {(kind: string, intensity: number) => void} onMood
   */
  constructor(connection, onMood) {
    this._connection = connection;
    this._drawer = byId("drawer");
    this._toggle = byId("drawer-toggle");
    this._sampler = new Sampler();
    this._tiles = new Tiles(byId("tiles"));
    /** @type {Sample} */
    this.last = {};
    this.turns = new Turns(byId("turns"));
    this._toggle.addEventListener("click", () => this.show(this._drawer.hidden));
    byId("drawer-close").addEventListener("click", () => this.show(false));
    this._moods = MOODS.map((kind) => this._mood(kind, onMood));
    byId("moods").append(...this._moods);
    this.moodsEnabled = false;
    window.setInterval(() => void this._sample(), SAMPLE_MS);
  }

  get isOpen() {
    return !this._drawer.hidden;
  }

  /** @param {boolean} open */
  show(open) {
    this._drawer.hidden = !open;
    this._toggle.setAttribute("aria-expanded", String(open));
    (open ? byId("drawer-title") : this._toggle).focus();
  }

  /** Expressions need a face that listens. @param {boolean} enabled */
  set moodsEnabled(enabled) {
    for (const button of this._moods) button.disabled = !enabled;
  }

  /** Forgets the last conversation. */
  clear() {
    this.turns.clear();
    this._tiles.clear();
    this.last = {};
    for (const button of this._moods) button.setAttribute("aria-pressed", "false");
  }

  /** @param {string} kind @param {(kind: string, intensity: number) => void} onMood */
  _mood(kind, onMood) {
    const button = make("button", "", kind[0].toUpperCase() + kind.slice(1));
    button.type = "button";
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => {
      for (const other of this._moods) other.setAttribute("aria-pressed", String(other === button));
      onMood(kind, INTENSITY);
    });
    return button;
  }

  async _sample() {
    const pc = this._connection();
    if (pc?.connectionState !== "connected") return;
    this.last = await this._sampler.take(pc);
    this._tiles.add(this.last);
  }
}
