/** Making a voice of a recording: record or choose, listen, agree, send, use or delete. */

import { base64, createVoice, deleteVoice, MAX_RECORDING_BYTES } from "./api.js";
import { byId, make } from "./dom.js";
import { Recorder } from "./recorder.js";
import { nameOf } from "./voices.js";
import { microphoneWords, milliseconds, WORDS } from "./words.js";

/** @typedef {import("./types.js").Voice} Voice */
/** @typedef {{onMade: (voice: Voice) => void, onUse: (voice: Voice) => void, onDeleted: (name: string) => void}} Handlers */

const MAX_RECORDING_S = 30;
const MY_OWN = "This is my own voice, and I agree to its use here.";

/**
 * What is wrong with a file before anything is sent; empty when nothing is.
 * @param {File} file
 */
export function recordingProblem(file) {
  if (file.size > MAX_RECORDING_BYTES) {
    return `“${file.name}” has ${(file.size / 2 ** 20).toFixed(1)} MiB; at most 20 MiB can be used. Choose ${MAX_RECORDING_S} seconds of it.`;
  }
  return file.size === 0 ? `“${file.name}” is empty.` : "";
}

/** One dialog, from its opening to its end: nothing that was said or written in it is left for the next. */
export class VoiceDialog {
  /** @param {Handlers} handlers */
  constructor(handlers) {
    this._handlers = handlers;
    document.body.append(byId("voice-template", HTMLTemplateElement).content.cloneNode(true));
    this._dialog = byId("voice-dialog", HTMLDialogElement);
    this._form = byId("voice-form", HTMLFormElement);
    this._playback = byId("playback", HTMLAudioElement);
    this._record = byId("record", HTMLButtonElement);
    this._make = byId("voice-make", HTMLButtonElement);
    this._consent = byId("voice-consent", HTMLTextAreaElement);
    this._given = byId("voice-given", HTMLInputElement);
    this._keep = byId("voice-keep", HTMLInputElement);
    this._name = byId("voice-name", HTMLInputElement);
    this._loudness = byId("loudness", HTMLMeterElement);
    this._problem = byId("voice-problem");
    this._recorder = new Recorder((seconds, loudness) => this._tick(seconds, loudness));
    /** @type {File | undefined} */
    this._file = undefined;
    byId("read-aloud").textContent = WORDS.readAloud;
    this._listen();
    this._dialog.showModal();
  }

  _listen() {
    const input = byId("voice-file", HTMLInputElement);
    byId("voice-pick").addEventListener("click", () => input.click());
    input.addEventListener("change", () => {
      if (input.files?.[0]) this._choose(input.files[0]);
      input.value = "";
    });
    this._record.addEventListener("click", () => void (this._recorder.isRecording ? this._stop() : this._start()));
    byId("voice-mine").addEventListener("click", () => {
      this._consent.value = MY_OWN;
      this._given.focus();
    });
    this._form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this._submit();
    });
    this._dialog.addEventListener("click", ({ target }) => {
      if (target === this._dialog || (target instanceof Element && target.closest("[data-close]"))) this._dialog.close();
    });
    this._dialog.addEventListener("close", () => {
      this._recorder.giveUp();
      this._show(undefined);
      this._dialog.remove();
    });
  }

  async _start() {
    this._say("");
    this._record.disabled = true;
    try {
      await this._recorder.start();
      if (!this._dialog.open) return this._recorder.giveUp();
      this._show(undefined);
      this._record.textContent = "Stop";
      this._loudness.hidden = false;
    } catch (error) {
      this._say(microphoneWords(error, "choose a file"));
    } finally {
      this._record.disabled = false;
    }
  }

  async _stop() {
    this._record.disabled = true;
    try {
      const file = await this._recorder.stop();
      if (this._dialog.open) this._show(file);
    } finally {
      this._record.disabled = false;
    }
  }

  /** @param {number} seconds @param {number} loudness */
  _tick(seconds, loudness) {
    this._loudness.value = loudness;
    this._record.textContent = `Stop (${Math.floor(seconds)} s)`;
    // A recorder goes on for a moment after it was told to end.
    if (seconds >= MAX_RECORDING_S - 1 && this._recorder.isRecording) void this._stop();
  }

  /** @param {File} file */
  _choose(file) {
    const problem = recordingProblem(file);
    this._say(problem);
    if (problem) return;
    this._recorder.giveUp();
    this._show(file);
  }

  /** The recording, to be listened to. @param {File | undefined} file */
  _show(file) {
    this._file = file;
    if (this._playback.src.startsWith("blob:")) URL.revokeObjectURL(this._playback.src);
    if (file) this._playback.src = URL.createObjectURL(file);
    else this._playback.removeAttribute("src");
    this._playback.hidden = !file;
    this._loudness.hidden = true;
    this._record.textContent = file ? "Record again" : "Record";
  }

  async _submit() {
    if (this._recorder.isRecording) await this._stop();
    const statement = this._consent.value.trim();
    if (!this._file) return this._say("Record something, or choose a file, first.");
    if (!statement) {
      this._say("Please write who agreed to the use of this voice, and how.");
      return this._consent.focus();
    }
    if (!this._given.checked) {
      this._say("A voice is made only if the person who speaks has agreed. Please confirm that.");
      return this._given.focus();
    }
    const name = this._name.value.trim();
    this._busy(true);
    this._say("");
    try {
      const voice = await createVoice({
        recording: await base64(this._file),
        consent: { given: true, statement },
        ...(name && { display_name: name }),
        ...(this._keep.checked && { keep_recording: true }),
      });
      this._handlers.onMade(voice);
      if (this._dialog.open) this._done(voice);
    } catch (error) {
      this._say(error instanceof Error ? error.message : String(error));
    } finally {
      this._busy(false);
    }
  }

  /** @param {Voice} voice */
  _done(voice) {
    this._form.hidden = true;
    byId("voice-title").textContent = nameOf(voice);
    const quality = voice.recording_quality;
    byId("voice-verdict").textContent = `A voice was made of ${Math.round((milliseconds(quality?.speech_duration) ?? 0) / 1000)} seconds of speech.`;
    byId("voice-warnings").replaceChildren(...(quality?.warnings ?? []).map((words) => make("li", "", words)));
    byId("voice-use").addEventListener("click", () => {
      this._dialog.close();
      this._handlers.onUse(voice);
    });
    byId("voice-discard").addEventListener("click", () => void this._delete(voice));
    byId("voice-done").hidden = false;
    byId("voice-verdict").focus();
  }

  /** @param {Voice} voice */
  async _delete({ name }) {
    try {
      await deleteVoice(name);
    } catch (error) {
      return this._say(error instanceof Error ? error.message : String(error));
    }
    this._handlers.onDeleted(name);
    this._dialog.close();
  }

  /** @param {boolean} busy */
  _busy(busy) {
    this._make.disabled = this._record.disabled = busy;
    this._make.textContent = busy ? "Listening to it…" : "Make this voice";
  }

  /** @param {string} problem */
  _say(problem) {
    this._problem.hidden = !problem;
    this._problem.textContent = problem;
  }
}
