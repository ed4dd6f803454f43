/** Says what is missing where a program should answer and none does. */

import { assistantWords } from "./words.js";

/** @typedef {import("./types.js").ConversationEvent} ConversationEvent */

/** A program that asks a model takes a few seconds; longer than this it is better to know. */
const PATIENCE_MS = 8_000;

export class Assistant {
  /**
   * @param {(words: string) => void} onMissing  The words; empty once it has answered.
   */
  constructor(onMissing) {
    this._onMissing = onMissing;
    this._awaited = false;
    this._hasAnswered = false;
    this._timer = 0;
  }

  /** A conversation begins. @param {boolean} awaited  Whether a program should answer it. */
  begin(awaited) {
    window.clearTimeout(this._timer);
    this._awaited = awaited;
    this._hasAnswered = false;
  }

  /** @param {ConversationEvent} event */
  apply(event) {
    if (!this._awaited) return;
    if (event.utterance_started) {
      this._hasAnswered = true;
      this._onMissing("");
    }
    if (!event.turn_changed) return;
    window.clearTimeout(this._timer);
    if (event.turn_changed.state !== "TURN_STATE_THINKING") return;
    this._timer = window.setTimeout(() => this._onMissing(assistantWords(this._hasAnswered)), PATIENCE_MS);
  }

  end() {
    this.begin(false);
  }
}
