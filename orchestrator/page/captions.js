/** The words of both sides: captions over the face, and the transcript beside it. */

import { make } from "./dom.js";

/** @typedef {import("./types.js").ConversationEvent} ConversationEvent */
/** @typedef {{item: HTMLLIElement, text: HTMLSpanElement, isUser: boolean, done: boolean}} Line */

/** How long the last words stay over the face after they were said. */
const LINGER_MS = 6_000;
/** Nearer than this to the end of the transcript, new words keep it there. */
const NEAR_END_PX = 60;

export class Captions {
  /**
   * @param {{log: HTMLElement, live: HTMLElement, scroll: HTMLElement, newest: HTMLElement,
   *   ofUser: HTMLElement, ofAvatar: HTMLElement, onLine: () => void}} parts  `log` is a live region: a line enters it
   *   once, when its words stay; until then it stands in `live`, which is read out by nobody.
   */
  constructor(parts) {
    this._parts = parts;
    /** @type {Map<string, Line>} */
    this._lines = new Map();
    /** @type {Line[]} typed, and not yet confirmed by the server */
    this._typed = [];
    this._timers = { user: 0, avatar: 0 };
    /** How many lines have begun. */
    this._begun = 0;
    /** What the face is called in the transcript. */
    this.avatarName = "Avatar";
    parts.scroll.addEventListener("scroll", () => this._showNewest(), { passive: true });
    parts.newest.addEventListener("click", () => this._toEnd());
  }

  /** @param {ConversationEvent} event */
  apply(event) {
    if (event.caption) {
      const { speaker, utterance_id: id = "", text = "", is_final: isFinal = false } = event.caption;
      if (speaker === "SPEAKER_USER") this._user(id, text, isFinal);
      else this._avatar(id, text);
    } else if (event.turn_changed) {
      // A cough, or an "mhm" that took no turn: its words were only guessed.
      if (event.turn_changed.state !== "TURN_STATE_USER_SPEAKING") this._dropGuesses("");
    } else if (event.utterance_started) {
      this._settleTyped();
      this._over("user", "");
      this._over("avatar", "");
    } else if (event.utterance_ended) {
      const { utterance_id: id = "", heard_text: heard, interrupted = false } = event.utterance_ended;
      this._end(id, heard, interrupted);
    }
  }

  /**
   * Shows typed words at once; the server's caption of them takes their place.
   * @param {string} text
   */
  typed(text) {
    const line = this._line(`typed ${performance.now()}`, true);
    line.item.classList.add("interim");
    line.text.textContent = text;
    this._typed.push(line);
    this._toEnd();
  }

  /**
   * A note between the lines, such as a new session.
   * @param {string} words
   */
  note(words) {
    this.close();
    this._keep(make("li", "line note", words));
  }

  /** Forgets everything. */
  clear() {
    this._lines.clear();
    this._typed = [];
    this._parts.log.replaceChildren();
    this._parts.live.replaceChildren();
    this.silence();
    this._parts.newest.hidden = true;
  }

  /** Takes the captions from the face. */
  silence() {
    this._over("user", "");
    this._over("avatar", "");
  }

  /** The transcript as plain text. */
  asText() {
    const lines = [...this._parts.log.children].map((item) => {
      const who = item.querySelector(".who")?.textContent;
      const text = item.querySelector(".text")?.textContent ?? item.textContent ?? "";
      const cut = item.querySelector(".cut") ? " [stopped]" : "";
      return who ? `${who}: ${text}${cut}` : `(${text})`;
    });
    return `${lines.join("\n")}\n`;
  }

  /** @param {string} id @param {string} text @param {boolean} isFinal */
  _user(id, text, isFinal) {
    const same = (/** @type {Line} */ line) => squeeze(line.text.textContent) === squeeze(text);
    const typed = isFinal ? this._typed.findIndex(same) : -1;
    if (typed >= 0) this._typed.splice(typed, 1)[0].item.remove();
    if (!text) return;
    this._dropGuesses(id);
    const line = this._line(id, true);
    line.text.textContent = text;
    line.item.classList.toggle("interim", !isFinal);
    // Words that were typed need no caption: they were never only in the air.
    if (typed < 0) this._over("user", text, { interim: !isFinal });
    if (isFinal) this._finish(line);
    this._follow();
  }

  /** @param {string} id @param {string} text */
  _avatar(id, text) {
    const line = this._lines.get(id);
    if (!text || line?.done) return;
    const shown = line ?? this._line(id, false);
    shown.text.textContent = text;
    this._over("avatar", text);
    this._follow();
  }

  /** @param {string} id @param {string | undefined} heard @param {boolean} interrupted */
  _end(id, heard, interrupted) {
    const line = this._lines.get(id) ?? (heard ? this._line(id, false) : undefined);
    if (!line || line.done) return;
    const text = heard ?? (interrupted ? "" : line.text.textContent ?? "");
    line.text.textContent = text;
    if (!text) {
      // Stopped before its first word: nobody heard anything, so nothing was said.
      line.done = true;
      line.item.remove();
      return this._over("avatar", "");
    }
    if (interrupted) line.item.append(" ", make("span", "cut", "stopped here"));
    this._over("avatar", text, { cut: interrupted });
    this._finish(line);
    this._follow();
  }

  /** @param {string} id @param {boolean} isUser @returns {Line} */
  _line(id, isUser) {
    const known = this._lines.get(id);
    if (known) return known;
    const text = make("span", "text");
    const who = make("span", "who", isUser ? "You" : this.avatarName);
    const item = make("li", `line ${isUser ? "user" : "avatar speaking"}`, who, text);
    item.dataset.begun = String(++this._begun);
    const line = { item, text, isUser, done: false };
    this._lines.set(id, line);
    this._parts.live.append(item);
    this._parts.onLine();
    return line;
  }

  /** @param {Line} line */
  _finish(line) {
    if (line.done) return;
    line.done = true;
    line.item.classList.remove("interim", "speaking");
    this._keep(line.item);
  }

  /**
   * Puts a line where it began: an answer that was spoken over stands above the words that ended it.
   * @param {HTMLLIElement} item
   */
  _keep(item) {
    let next = null;
    for (const other of /** @type {HTMLLIElement[]} */ ([...this._parts.log.children].reverse())) {
      if (!(Number(other.dataset.begun) > Number(item.dataset.begun))) break;
      next = other;
    }
    this._parts.log.insertBefore(item, next);
    this._parts.onLine();
    this._follow();
  }

  /** Takes back what the person was only guessed to say. @param {string} but  The utterance to keep. */
  _dropGuesses(but) {
    for (const [id, line] of this._lines) {
      if (!line.isUser || line.done || id === but || this._typed.includes(line)) continue;
      line.item.remove();
      this._lines.delete(id);
      this._over("user", "");
    }
    this._parts.onLine();
  }

  /** The server took the typed words in its own way: they stand as they were typed. */
  _settleTyped() {
    for (const line of this._typed.splice(0)) this._finish(line);
  }

  /** Nothing more comes for the lines that are open: they stand as they are. */
  close() {
    this._settleTyped();
    for (const line of this._lines.values()) this._finish(line);
    this._lines.clear();
    this.silence();
  }

  /**
   * @param {"user" | "avatar"} side
   * @param {string} text  Empty takes the caption away.
   * @param {{interim?: boolean, cut?: boolean}} [looks]
   */
  _over(side, text, { interim = false, cut = false } = {}) {
    const caption = side === "user" ? this._parts.ofUser : this._parts.ofAvatar;
    window.clearTimeout(this._timers[side]);
    caption.hidden = !text;
    caption.classList.toggle("interim", interim);
    caption.classList.toggle("cut", cut);
    const words = /** @type {HTMLElement} */ (caption.firstElementChild);
    if (words.textContent !== text) words.textContent = text;
    if (text) this._timers[side] = window.setTimeout(() => (caption.hidden = true), LINGER_MS);
  }

  _follow() {
    const { scroll } = this._parts;
    if (scroll.dataset.away) this._showNewest();
    else scroll.scrollTop = scroll.scrollHeight;
  }

  _showNewest() {
    const { scroll, newest } = this._parts;
    const away = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight > NEAR_END_PX;
    if (away) scroll.dataset.away = "yes";
    else delete scroll.dataset.away;
    newest.hidden = !away;
  }

  _toEnd() {
    delete this._parts.scroll.dataset.away;
    this._follow();
    this._showNewest();
  }
}

/** @param {string | null} text */
function squeeze(text) {
  return (text ?? "").replace(/\s+/g, " ").trim().toLowerCase();
}
