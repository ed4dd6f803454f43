/** The choice of a language and a voice. */

import { deleteVoice, getRecogniser, listVoices } from "./api.js";
import { make } from "./dom.js";
import { hearingWords, languageNames, WORDS } from "./words.js";

/** @typedef {import("./types.js").Recogniser} Recogniser */
/** @typedef {import("./types.js").Voice} Voice */

const RETRY_MS = 5_000;

export class Voices {
  /**
   * @param {{language: HTMLSelectElement, voice: HTMLSelectElement, note: HTMLElement, own: HTMLElement}} places
   *   note: says what listens, and which languages it understands where that is not all of them; own: what there is to do about voices
   *   of one's own.
   * @param {{language: string, voice: string}} wanted  Empty means the server's default.
   * @param {{onChange: () => void, onAdd: () => void, onError: (words: string) => void}} handlers
   */
  constructor({ language, voice, note, own }, wanted, handlers) {
    this._language = language;
    this._voice = voice;
    this._note = note;
    this._own = own;
    this._handlers = handlers;
    this._canClone = false;
    this._asked = "";
    this._wanted = wanted;
    /** @type {Voice[]} */
    this._voices = [];
    /** @type {Recogniser | undefined} */
    this._recogniser = undefined;
    language.addEventListener("change", () => {
      this._drawVoices();
      this._drawNote();
      handlers.onChange();
    });
    voice.addEventListener("change", () => {
      this._asked = "";
      this._drawOwn();
      handlers.onChange();
    });
    this._draw();
  }

  get language() {
    return this._language.value;
  }

  /** "voices/x", or empty for the default. */
  get voice() {
    return this._voice.value;
  }

  /** Reads both lists; while the server lacks a service, its own again every few seconds. */
  load() {
    void this._loadVoices();
    void this._loadRecogniser();
  }

  async _loadRecogniser() {
    try {
      this._recogniser = await getRecogniser();
    } catch {
      window.setTimeout(() => void this._loadRecogniser(), RETRY_MS);
      return;
    }
    this._drawNote();
  }

  async _loadVoices() {
    try {
      const found = await listVoices();
      this._voices = found.voices.filter(({ unusable_reason: reason }) => !reason);
      this._canClone = found.canClone;
      this._voice.title = "";
    } catch (error) {
      this._voice.title = `${WORDS.noVoices}. ${error instanceof Error ? error.message : ""}`;
      window.setTimeout(() => void this._loadVoices(), RETRY_MS);
      return;
    }
    this._draw();
  }

  /** Chooses a voice that was made here. @param {Voice} voice */
  use(voice) {
    this._voice.value = voice.name;
    this._drawOwn();
    this._handlers.onChange();
  }

  /** @param {Voice} voice */
  add(voice) {
    this._voices = [...this._voices.filter(({ name }) => name !== voice.name), voice];
    this._drawVoices();
  }

  /** @param {string} name */
  remove(name) {
    const was = this._voice.value;
    this._voices = this._voices.filter((voice) => voice.name !== name);
    this._drawVoices();
    if (was !== this._voice.value) this._handlers.onChange();
  }

  _draw() {
    const codes = new Set(this._voices.flatMap(({ language_codes: spoken = [] }) => spoken));
    if (codes.size === 0) codes.add(this._wanted.language || "en");
    const names = languageNames([...codes]);
    const options = [...codes].map((code) => option(code, names.get(code) ?? code));
    // Few look for a language by its code.
    const isCode = (/** @type {HTMLOptionElement} */ { text, value }) => Number(text === value);
    options.sort((a, b) => isCode(a) - isCode(b) || a.text.localeCompare(b.text));
    const chosen = this._language.value || this._wanted.language || "en";
    this._language.replaceChildren(...options);
    const best = [chosen, ...options.map(({ value }) => value).filter((code) => code.split("-")[0] === chosen.split("-")[0])];
    this._language.value = best.find((code) => codes.has(code)) ?? options[0].value;
    this._drawVoices();
    this._drawNote();
  }

  _drawNote() {
    const spoken = [...this._language.options].map(({ value }) => value);
    const words = hearingWords(this._recogniser, spoken, this.language);
    this._note.textContent = words;
    this._note.hidden = !words;
  }

  _drawVoices() {
    const chosen = this._voice.value || this._wanted.voice;
    const able = this._voices.filter(({ language_codes: spoken = [] }) => spoken.length === 0 || spoken.includes(this.language));
    const options = able.map((voice) => option(voice.name, nameOf(voice)));
    this._voice.replaceChildren(option("", "Default"), ...options);
    this._voice.value = able.some(({ name }) => name === chosen) ? chosen : "";
    this._drawOwn();
  }

  /** A way to a voice of one's own, and one to delete such a voice. */
  _drawOwn() {
    const chosen = this._voices.find(({ name, kind }) => name === this._voice.value && kind === "KIND_CLONED");
    const parts = this._canClone ? [this._button("Your own voice", "", () => this._handlers.onAdd())] : [];
    if (chosen && this._asked !== chosen.name) {
      parts.push(this._button(`Delete “${nameOf(chosen)}”`, "danger", () => this._ask(chosen.name)));
    } else if (chosen) {
      parts.push(this._button("Delete for good", "danger sure", () => void this._delete(chosen.name)), this._button("Keep", "", () => this._ask("")));
    }
    this._own.replaceChildren(...parts);
    this._own.hidden = parts.length === 0;
  }

  /** @param {string} words @param {string} look @param {() => void} act */
  _button(words, look, act) {
    const button = make("button", `plain small ${look}`, words);
    button.type = "button";
    button.addEventListener("click", act);
    return button;
  }

  /** @param {string} name  Of the voice that may be deleted; empty for none. */
  _ask(name) {
    this._asked = name;
    this._drawOwn();
    /** @type {HTMLElement | null} */ (this._own.querySelector("button.danger"))?.focus();
  }

  /** @param {string} name */
  async _delete(name) {
    try {
      await deleteVoice(name);
      this.remove(name);
    } catch (error) {
      this._handlers.onError(error instanceof Error ? error.message : String(error));
    }
  }
}

/** @param {Voice} voice */
export function nameOf(voice) {
  return voice.display_name || voice.name.replace("voices/", "");
}

/** @param {string} value @param {string} words */
function option(value, words) {
  const element = make("option", "", words);
  element.value = value;
  return element;
}
