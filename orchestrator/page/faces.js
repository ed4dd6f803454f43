/** The choice of a face, on the first screen and in a dialog during a conversation. */

import { ApiError, DEFAULT_AVATAR, deleteAvatar, listAvatars, stillUrl } from "./api.js";
import { icon, make } from "./dom.js";
import { WORDS } from "./words.js";

/** @typedef {import("./types.js").Avatar} Avatar */

const TILE_PX = 192;
const RETRY_MS = 5_000;

/** @param {Avatar} avatar */
export function nameOf(avatar) {
  return avatar.display_name || avatar.name.replace("avatars/", "");
}

export class Faces {
  /**
   * @param {HTMLElement[]} places  Each shows the same choice.
   * @param {{onChoose: (name: string) => void, onLoaded: () => void, onAdd: () => void, onError: (words: string) => void}} handlers
   * @param {string} chosen  "avatars/x".
   */
  constructor(places, handlers, chosen) {
    this._places = places;
    this._handlers = handlers;
    /** @type {Avatar[]} */
    this.avatars = [];
    this.chosen = chosen || DEFAULT_AVATAR;
    this._problem = "";
    this._asked = "";
    this._draw();
  }

  /** The name of the chosen face, for people. */
  get chosenName() {
    const avatar = this.avatars.find(({ name }) => name === this.chosen);
    return avatar ? nameOf(avatar) : "Avatar";
  }

  /** Reads the list; while the server lacks its face service, again every few seconds. */
  async load() {
    try {
      this.avatars = await listAvatars();
      this._problem = "";
      this._handlers.onLoaded();
    } catch (error) {
      this._problem = error instanceof ApiError ? error.message : String(error);
      window.setTimeout(() => void this.load(), RETRY_MS);
    }
    if (this.avatars.length && !this.avatars.some(({ name }) => name === this.chosen)) this.choose(this.avatars[0].name);
    this._draw();
  }

  /** @param {string} name */
  choose(name) {
    if (name === this.chosen) return;
    this.shown(name);
    this._handlers.onChoose(name);
  }

  /** The server shows this face now. @param {string} name */
  shown(name) {
    this.chosen = name;
    this._asked = "";
    this._draw();
  }

  /** @param {Avatar} avatar */
  add(avatar) {
    this.avatars = [...this.avatars.filter(({ name }) => name !== avatar.name), avatar];
    this._draw();
  }

  /** @param {string} name */
  remove(name) {
    this.avatars = this.avatars.filter((avatar) => avatar.name !== name);
    if (this.chosen === name) this.choose(DEFAULT_AVATAR);
    else this._draw();
  }

  _draw() {
    this._places.forEach((place, i) => {
      const focused = /** @type {HTMLInputElement | null} */ (place.querySelector("input:focus"))?.value;
      const tiles = this.avatars.map((avatar) => this._tile(avatar, `face-${i}`));
      place.replaceChildren(...tiles, this._addTile(), ...this._note());
      if (focused) /** @type {HTMLElement | null} */ (place.querySelector("input:checked"))?.focus();
    });
  }

  /** @param {Avatar} avatar @param {string} group */
  _tile(avatar, group) {
    const input = make("input");
    Object.assign(input, { type: "radio", name: group, value: avatar.name, checked: avatar.name === this.chosen });
    input.addEventListener("change", () => this.choose(avatar.name));
    const image = make("img");
    Object.assign(image, { src: stillUrl(avatar.name, TILE_PX), alt: "", loading: "lazy" });
    image.addEventListener("error", () => image.replaceWith(icon("face")));
    return make("label", "face-tile", input, make("span", "pic", image), make("span", "name", nameOf(avatar)));
  }

  _addTile() {
    const button = make("button", "face-tile add", make("span", "pic", icon("plus")), make("span", "name", "Your own"));
    button.type = "button";
    button.addEventListener("click", () => this._handlers.onAdd());
    return button;
  }

  /** @returns {HTMLElement[]} what there is to say or do about the chosen face */
  _note() {
    if (this._problem) return [make("p", "faces-note", `${WORDS.noFaces}. ${this._problem}`)];
    const avatar = this.avatars.find(({ name }) => name === this.chosen);
    if (!avatar || avatar.name === DEFAULT_AVATAR) return [];
    if (this._asked !== avatar.name) return [make("p", "faces-note", this._button(`Delete “${nameOf(avatar)}”`, () => this._ask(avatar.name)))];
    const note = make("p", "faces-note", make("span", "", "Its portrait is deleted too."));
    note.append(this._button("Delete", () => void this._delete(avatar.name)), this._button("Keep", () => this._ask("")));
    note.querySelector("button")?.classList.replace("danger", "sure");
    return [note];
  }

  /** @param {string} words @param {() => void} act */
  _button(words, act) {
    const button = make("button", "plain danger small", words);
    button.type = "button";
    button.addEventListener("click", act);
    return button;
  }

  /** @param {string} name */
  _ask(name) {
    this._asked = name;
    this._draw();
    for (const place of this._places) {
      const button = /** @type {HTMLElement | null} */ (place.querySelector(".faces-note button"));
      if (button?.checkVisibility()) button.focus();
    }
  }

  /** @param {string} name */
  async _delete(name) {
    try {
      await deleteAvatar(name);
      this.remove(name);
    } catch (error) {
      this._handlers.onError(error instanceof Error ? error.message : String(error));
    }
  }
}
