/** The face, what lies over it, and the buttons under it. */

import { stillUrl } from "./api.js";
import { byId } from "./dom.js";
import { TURNS, WORDS } from "./words.js";

const STILL_PX = 512;

export class Stage {
  constructor() {
    this._face = byId("face");
    this._still = byId("still", HTMLImageElement);
    this._ambient = byId("ambient", HTMLImageElement);
    this.video = byId("video", HTMLVideoElement);
    this._veilAct = () => {};
    this._turnState = "";
    this._still.addEventListener("load", () => this._stillThere(true));
    this._still.addEventListener("error", () => this._stillThere(false));
    byId("veil-action").addEventListener("click", () => this._veilAct());
  }

  /**
   * Shows a picture of the face until its video comes.
   * @param {string} avatar  "avatars/x"
   */
  showStill(avatar) {
    this._still.src = stillUrl(avatar, STILL_PX);
  }

  /**
   * Plays the live face. Browsers may refuse sound before a click; then a button asks for one.
   * @param {MediaStream} stream
   */
  play(stream) {
    const { video } = this;
    video.srcObject = stream;
    const shown = () => this._face.classList.add("live");
    if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(shown);
    else video.addEventListener("playing", shown, { once: true });
    video.play().catch(() => {
      if (video.srcObject !== stream) return;
      this.veil(WORDS.noAudioOut, "", WORDS.soundOn, () => {
        this.unveil();
        this.play(stream);
      });
    });
  }

  /** Back to the still picture. */
  rest() {
    this._face.classList.remove("live", "lost");
    this.video.srcObject = null;
    this.unveil();
    byId("turn").hidden = true;
  }

  /** The last picture stays, greyed, while the connection is away. @param {boolean} lost */
  set lost(lost) {
    this._face.classList.toggle("lost", lost);
    if (lost) byId("turn").hidden = true;
  }

  get lost() {
    return this._face.classList.contains("lost");
  }

  /**
   * Words over the face.
   * @param {string} title
   * @param {string} words
   * @param {string} [action]  What the button says; without one a spinner turns.
   * @param {() => void} [act]
   * @param {boolean} [waiting]  A spinner beside the button too.
   */
  veil(title, words, action = "", act = () => {}, waiting = !action) {
    byId("veil").hidden = false;
    byId("veil-title").textContent = title;
    byId("veil-words").textContent = words;
    const button = byId("veil-action");
    button.textContent = action;
    button.hidden = !action;
    /** @type {HTMLElement} */ (byId("veil").querySelector(".spinner")).hidden = !waiting;
    this._veilAct = act;
  }

  unveil() {
    byId("veil").hidden = true;
  }

  /**
   * What the conversation does now.
   * @param {string} turnState  A TurnState; empty before the first.
   * @param {{hasMicrophone: boolean, isMuted: boolean}} input
   */
  turn(turnState, { hasMicrophone, isMuted }) {
    const { mark, words } = TURNS[turnState] ?? TURNS.TURN_STATE_LISTENING;
    const deaf = mark === "listening" && (!hasMicrophone || isMuted);
    byId("turn").hidden = false;
    byId("turn").dataset.turn = deaf ? (hasMicrophone ? "muted" : "none") : mark;
    byId("turn-words").textContent = deaf ? (hasMicrophone ? "Microphone muted" : "Waiting for your words") : words;
  }

  /**
   * The microphone button.
   * @param {{hasMicrophone: boolean, isMuted: boolean}} input
   */
  microphone({ hasMicrophone, isMuted }) {
    const button = byId("mic");
    button.classList.toggle("muted", hasMicrophone && isMuted);
    button.classList.toggle("none", !hasMicrophone);
    byId("mic-icon", SVGUseElement).setAttribute("href", hasMicrophone && !isMuted ? "#i-mic" : "#i-mic-off");
    byId("mic-label").textContent = !hasMicrophone ? "Use mic" : isMuted ? "Unmute" : "Mute";
    button.setAttribute("aria-label", !hasMicrophone ? "Use the microphone" : isMuted ? "Unmute the microphone" : "Mute the microphone");
  }

  /** @param {boolean} there */
  _stillThere(there) {
    this._still.hidden = !there;
    byId("no-still").hidden = there;
    this._ambient.classList.toggle("shown", there);
    if (there) this._ambient.src = this._still.src;
  }
}
