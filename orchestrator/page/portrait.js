/** Making a face from a picture: choose, agree, send, look at the landmarks, use or delete. */

import { ApiError, base64, createAvatar, deleteAvatar, MAX_PORTRAIT_BYTES } from "./api.js";
import { byId, make } from "./dom.js";
import { nameOf } from "./faces.js";
import { drawLandmarks, zoomToFace } from "./landmarks.js";
import { verdictWords } from "./words.js";

/** @typedef {import("./types.js").Avatar} Avatar */
/** @typedef {{portrait: string, consent: string, display_name?: string}} Sent */

const TYPES = ["image/jpeg", "image/png", "image/webp"];
const MAX_PIXELS = 50_000_000;
const MY_OWN = "This is my own face, and I agree to its use here.";

/**
 * What is wrong with a file before anything is sent; empty when nothing is.
 * @param {File} file
 */
export function fileProblem(file) {
  if (!TYPES.includes(file.type)) return `“${file.name}” is not a picture that can be used. Choose a JPEG, PNG or WebP file.`;
  if (file.size > MAX_PORTRAIT_BYTES) {
    return `“${file.name}” has ${(file.size / 2 ** 20).toFixed(1)} MiB; at most 20 MiB can be used. Choose a smaller picture.`;
  }
  return file.size === 0 ? `“${file.name}” is empty.` : "";
}

export class PortraitDialog {
  /**
   * @param {{onMade: (avatar: Avatar) => void, onUse: (avatar: Avatar) => void, onDeleted: (name: string) => void}} handlers
   */
  constructor(handlers) {
    this._handlers = handlers;
    this._dialog = byId("portrait-dialog", HTMLDialogElement);
    this._form = byId("portrait-form", HTMLFormElement);
    this._picture = byId("preview", HTMLImageElement);
    this._consent = byId("consent", HTMLTextAreaElement);
    this._name = byId("portrait-name", HTMLInputElement);
    this._make = byId("make", HTMLButtonElement);
    /** @type {File | undefined} */
    this._file = undefined;
    /** @type {Avatar | undefined} */
    this._avatar = undefined;
    /** What waits for a confirmation. @type {Sent | undefined} */
    this._doubted = undefined;
    this._listen();
  }

  /** @param {File} [file]  A picture that was dropped or pasted on the page. */
  open(file) {
    this._reset();
    if (!this._dialog.open) this._dialog.showModal();
    if (file) void this._choose(file);
  }

  _listen() {
    const input = byId("file", HTMLInputElement);
    const drop = byId("drop");
    byId("pick").addEventListener("click", () => input.click());
    byId("another").addEventListener("click", () => input.click());
    input.addEventListener("change", () => {
      if (input.files?.[0]) void this._choose(input.files[0]);
      input.value = "";
    });
    byId("mine").addEventListener("click", () => {
      this._consent.value = MY_OWN;
      this._make.focus();
    });
    this._form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this._submit();
    });
    byId("confirm").addEventListener("click", () => void this._confirm());
    byId("reject").addEventListener("click", () => this._reset());
    byId("use").addEventListener("click", () => this._use());
    byId("discard").addEventListener("click", () => void this._delete());
    this._listenToPage(drop);
  }

  /** A picture may be dropped on the page or pasted, whether the dialog is open or not. @param {HTMLElement} drop */
  _listenToPage(drop) {
    const hasFile = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes("Files");
    document.addEventListener("dragover", (event) => {
      if (!hasFile(event)) return;
      event.preventDefault();
      drop.classList.add("over");
    });
    document.addEventListener("dragleave", (event) => !event.relatedTarget && drop.classList.remove("over"));
    document.addEventListener("drop", (event) => {
      drop.classList.remove("over");
      const file = event.dataTransfer?.files[0];
      if (!file) return;
      event.preventDefault();
      this._take(file);
    });
    document.addEventListener("paste", (event) => {
      const file = [...(event.clipboardData?.files ?? [])].find(({ type }) => type.startsWith("image/"));
      if (!file) return;
      event.preventDefault();
      this._take(file);
    });
  }

  /** @param {File} file */
  _take(file) {
    if (this._dialog.open && !this._avatar && !this._doubted) void this._choose(file);
    else this.open(file);
  }

  _reset() {
    this._file = undefined;
    this._avatar = undefined;
    this._consent.value = this._name.value = "";
    this._form.hidden = false;
    this._say("");
    this._show("");
    this._doubted = undefined;
    byId("portrait-done").hidden = byId("portrait-doubt").hidden = true;
    byId("portrait-title").textContent = "Your own face";
  }

  /** @param {File} file */
  async _choose(file) {
    const problem = fileProblem(file);
    if (problem) return this._say(problem);
    const url = URL.createObjectURL(file);
    const probe = new Image();
    probe.src = url;
    try {
      await probe.decode();
    } catch {
      URL.revokeObjectURL(url);
      return this._say(`“${file.name}” could not be read as a picture. It may be damaged.`);
    }
    if (probe.naturalWidth * probe.naturalHeight > MAX_PIXELS) {
      URL.revokeObjectURL(url);
      return this._say(`“${file.name}” has ${probe.naturalWidth}×${probe.naturalHeight} pixels; at most 50 megapixels can be used.`);
    }
    this._file = file;
    this._say("");
    this._show(url);
  }

  /** @param {string} url  Empty shows the place to drop a picture. */
  _show(url) {
    if (this._picture.src.startsWith("blob:")) URL.revokeObjectURL(this._picture.src);
    if (url) this._picture.src = url;
    else this._picture.removeAttribute("src");
    this._picture.classList.remove("as-sent");
    zoomToFace(byId("zoom"), undefined);
    byId("overlay", SVGElement).toggleAttribute("hidden", true);
    byId("frame").hidden = byId("another").hidden = !url;
    byId("drop-words").hidden = Boolean(url);
    byId("drop").classList.toggle("filled", Boolean(url));
  }

  async _submit() {
    const consent = this._consent.value.trim();
    if (!this._file) return this._say("Choose a picture first.");
    if (!consent) {
      this._say("Please write who agreed to the use of this face, and how.");
      return this._consent.focus();
    }
    const name = this._name.value.trim();
    this._busy(true);
    try {
      await this._send({ portrait: await base64(this._file), consent, ...(name && { display_name: name }) }, false);
    } catch (error) {
      this._say(error instanceof Error ? error.message : String(error));
    } finally {
      this._busy(false);
    }
  }

  /** @param {Sent} sent @param {boolean} confirmed  Somebody has looked at the marks. */
  async _send(sent, confirmed) {
    this._say("");
    try {
      this._avatar = await createAvatar(sent, confirmed ? "confirm_doubtful_face" : undefined);
      this._done(this._avatar);
    } catch (error) {
      if (error instanceof ApiError && error.reason === "CONFIRMATION_NEEDED") return this._doubt(sent);
      this._say(error instanceof Error ? error.message : String(error));
    }
  }

  /** Shows where the face was seen, for a person to judge. @param {Sent} sent */
  async _doubt(sent) {
    const seen = await createAvatar(sent, "validate_only");
    this._doubted = sent;
    this._mark(seen);
    byId("doubts").replaceChildren(...(seen.doubts ?? []).map((words) => make("li", "", words)));
    byId("portrait-doubt").hidden = false;
    byId("doubt-title").focus();
  }

  async _confirm() {
    if (!this._doubted) return;
    const button = byId("confirm", HTMLButtonElement);
    button.disabled = true;
    await this._send(this._doubted, true);
    button.disabled = false;
  }

  /** @param {Avatar} avatar */
  _mark(avatar) {
    // A phone's picture may be stored lying on its side: the marks belong to the pixels as they were sent.
    this._picture.classList.toggle("as-sent", avatar.width !== this._picture.naturalWidth);
    const overlay = byId("overlay", SVGElement);
    drawLandmarks(overlay, avatar);
    zoomToFace(byId("zoom"), avatar);
    overlay.toggleAttribute("hidden", false);
    this._form.hidden = true;
  }

  /** @param {Avatar} avatar */
  _done(avatar) {
    this._mark(avatar);
    byId("portrait-doubt").hidden = true;
    byId("portrait-title").textContent = nameOf(avatar);
    byId("warnings").replaceChildren(...(avatar.warnings ?? []).map((words) => make("li", "", words)));
    byId("verdict").textContent = verdictWords(avatar.detection_score ?? 0);
    byId("portrait-done").hidden = false;
    byId("verdict").focus();
    this._handlers.onMade(avatar);
  }

  _use() {
    if (!this._avatar) return;
    this._dialog.close();
    this._handlers.onUse(this._avatar);
  }

  async _delete() {
    if (!this._avatar) return;
    const { name } = this._avatar;
    try {
      await deleteAvatar(name);
    } catch (error) {
      return this._say(error instanceof Error ? error.message : String(error));
    }
    this._handlers.onDeleted(name);
    this._reset();
  }

  /** @param {boolean} busy */
  _busy(busy) {
    this._make.disabled = busy;
    this._make.textContent = busy ? "Looking for the face…" : "Make this face";
    byId("frame").classList.toggle("busy", busy);
  }

  /** @param {string} problem */
  _say(problem) {
    const place = byId("portrait-problem");
    place.hidden = !problem;
    place.textContent = problem;
  }
}
