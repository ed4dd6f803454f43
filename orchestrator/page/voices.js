/** The choice of a language and a voice. */

import { listHeard, listVoices } from "./api.js";
import { make } from "./dom.js";
import { hearingWords, languageNames, WORDS } from "./words.js";

/** @typedef {import("./types.js").Voice} Voice */

const RETRY_MS = 5_000;

export class Voices {
  /**
   * @param {HTMLSelectElement} language
   * @param {HTMLSelectElement} voice
   * @param {HTMLElement} note  Says which languages are recognised, where that is not all of them.
   * @param {{language: string, voice: string}} wanted  Empty means the server's default.
   * @param {() => void} onChange
   */
  constructor(language, voice, note, wanted, onChange) {
    this._language = language;
    this._voice = voice;
    this._note = note;
    this._wanted = wanted;
    /** @type {Voice[]} */
    this._voices = [];
    /** @type {string[]} */
    this._heard = [];
    language.addEventListener("change", () => {
      this._drawVoices();
      this._drawNote();
      onChange();
    });
    voice.addEventListener("change", onChange);
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
    void this._loadHeard();
  }

  async _loadHeard() {
    try {
      this._heard = await listHeard();
    } catch {
      window.setTimeout(() => void this._loadHeard(), RETRY_MS);
      return;
    }
    this._drawNote();
  }

  async _loadVoices() {
    try {
      this._voices = await listVoices();
      this._voice.title = "";
    } catch (error) {
      this._voice.title = `${WORDS.noVoices}. ${error instanceof Error ? error.message : ""}`;
      window.setTimeout(() => void this._loadVoices(), RETRY_MS);
      return;
    }
    this._draw();
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
    const words = hearingWords(this._heard, spoken, this.language);
    this._note.textContent = words;
    this._note.hidden = !words;
  }

  _drawVoices() {
    const chosen = this._voice.value || this._wanted.voice;
    const able = this._voices.filter(({ language_codes: spoken = [] }) => spoken.length === 0 || spoken.includes(this.language));
    const options = able.map((voice) => option(voice.name, voice.display_name || voice.name.replace("voices/", "")));
    this._voice.replaceChildren(option("", "Default"), ...options);
    this._voice.value = able.some(({ name }) => name === chosen) ? chosen : "";
  }
}

/** @param {string} value @param {string} words */
function option(value, words) {
  const element = make("option", "", words);
  element.value = value;
  return element;
}
