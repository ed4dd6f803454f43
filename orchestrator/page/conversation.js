/**
 * One conversation as a person sees it. Where sound and picture break and the socket stands, it connects them anew
 * within the session; where the socket is lost it opens a new session, because a session of the server ends with it.
 */

import { Peer } from "./peer.js";
import { sessionUrl, Signaling } from "./signaling.js";
import { mediaWords, WORDS } from "./words.js";

/** @typedef {import("./signaling.js").SessionOptions} SessionOptions */
/** @typedef {import("./types.js").ServerMessage} ServerMessage */
/** @typedef {import("./types.js").ConversationEvent} ConversationEvent */

/**
 * connecting, live, waiting (lost, with a sentence if it is known why; the next attempt comes in `delayS`), over (with
 * a sentence that says why).
 * @typedef {{name: "connecting", attempt: number} | {name: "live", attempt: number} |
 *   {name: "waiting", attempt: number, delayS: number, words: string} |
 *   {name: "over", words: string, failed: boolean}} Phase
 *
 * onAvatar tells which face is shown: a new one, or the old one where another was refused; onGap, whether sound and
 * picture are away while the session goes on.
 *
 * @typedef {{onPhase: (phase: Phase) => void, onStream: (stream: MediaStream) => void,
 *   onEvent: (event: ConversationEvent) => void, onAvatar: (name: string, isNew: boolean) => void,
 *   onNotice: (words: string, key: string) => void, onGap: (isAway: boolean) => void}} Handlers
 */

const MAX_ATTEMPTS = 12;
/** For the socket to open, and then for sound and picture; more than a slow TURN server needs. */
const CONNECT_MS = 20_000;
/** A connection that is silent this long is made anew; shorter gaps heal by themselves. */
const GAP_MS = 4_000;
/** How often sound and picture are connected anew before the session is given up. */
const MAX_MENDS = 3;

export class Conversation {
  /**
   * @param {SessionOptions} options  `avatar` follows switches, so that a new session shows the same face.
   * @param {MediaStream | undefined} microphone
   * @param {Handlers} handlers
   */
  constructor(options, microphone, handlers) {
    this.options = { ...options };
    /** @type {Phase} */
    this.phase = { name: "connecting", attempt: 0 };
    /** @type {Signaling | undefined} */
    this.signaling = undefined;
    /** @type {Peer | undefined} */
    this.peer = undefined;
    /** Whose sound and picture are played. @type {Peer | undefined} */
    this._shown = undefined;
    /** Whether sound and picture are away, and how often they were connected anew since. */
    this._isMending = false;
    this._mends = 0;
    this._isFull = false;
    this._microphone = microphone;
    this._handlers = handlers;
    this._attempt = 0;
    this._timer = 0;
    this._error = "";
    /** The face that was asked for and is not there yet. */
    this._wanted = "";
    this._everLive = false;
    this._now = () => this.retry();
    window.addEventListener("online", this._now);
  }

  start() {
    this._drop();
    this._error = "";
    this._isFull = this._isMending = false;
    this._mends = 0;
    this._enter({ name: "connecting", attempt: this._attempt });
    const signaling = new Signaling(sessionUrl(this.options), {
      onMessage: (message) => void this._message(message).catch((error) => this._unread(message, error)),
      onClose: () => this._lost(),
    });
    this.signaling = signaling;
    this._within(CONNECT_MS, () => this._lost());
    signaling.socket.addEventListener("open", () => {
      if (this.signaling === signaling) this._within(CONNECT_MS, () => this._lost(this._why()));
    });
  }

  /**
   * Begins a new session that hears this microphone: what a session sends and receives is agreed once, at its start.
   * @param {MediaStream} microphone
   */
  restart(microphone) {
    this._microphone = microphone;
    this._attempt = 0;
    this.start();
  }

  /** Tries at once instead of waiting. */
  retry() {
    if (this.phase.name === "waiting") this.start();
  }

  /** @param {string} text @returns {boolean} whether it was sent */
  say(text) {
    return this._send("text", { text });
  }

  interrupt() {
    this._send("interrupt");
  }

  /** @param {string} avatar */
  show(avatar) {
    this._wanted = avatar;
    // Before the server hears of it, a new session simply begins with it.
    if (!this._send("avatar", { avatar })) this.options.avatar = avatar;
  }

  /** @param {string} kind @param {number} intensity */
  express(kind, intensity) {
    this._send("expression", { kind, intensity });
  }

  /**
   * Ends it for good.
   * @param {string} [words]  Why.
   * @param {boolean} [failed]  Whether that was not what the person wanted.
   */
  end(words = "", failed = false) {
    if (this.phase.name === "over") return;
    this._drop();
    window.removeEventListener("online", this._now);
    this._enter({ name: "over", words, failed });
  }

  /** @param {string} type @param {object} [data] */
  _send(type, data) {
    return this.signaling?.send(type, data) ?? false;
  }

  /** @param {ServerMessage} message */
  async _message(message) {
    switch (message.type) {
      case "config":
        return this._open(message.data);
      case "answer":
        return this.peer?.answer(message.data);
      case "ice-candidate":
        return this.peer?.candidate(message.data);
      case "avatar":
        this._wanted = "";
        this.options.avatar = message.data.avatar;
        return this._handlers.onAvatar(message.data.avatar, true);
      case "error":
        this._isFull = /server full/i.test(message.error);
        this._error = this._isFull ? WORDS.full : message.error;
        if (this.peer) this._handlers.onNotice(this._error, "server");
        // The error may be about something else, but then the switch is still to come and is told when it does.
        if (this._wanted) this._handlers.onAvatar(this.options.avatar ?? "", false);
        this._wanted = "";
        return;
      case "event":
        this._handlers.onEvent(message.data);
        if (message.data.ended?.connection_lost) this._lost();
        else if (message.data.ended) this.end(message.data.ended.reason || WORDS.ended);
    }
  }

  /** @param {import("./types.js").Config} config */
  async _open(config) {
    const voice = this._microphone?.getAudioTracks().find((track) => track.readyState === "live");
    /** @type {Peer} */
    const peer = new Peer(config, voice, {
      send: (type, data) => this._send(type, data),
      onState: (state) => this.peer === peer && this._connection(state),
    });
    if (this.peer) {
      this.peer.close();
      this._within(CONNECT_MS, () => this._mend(this._why()));
    }
    this.peer = peer;
    await peer.offer();
  }

  /** @param {RTCPeerConnectionState} state */
  _connection(state) {
    if (state === "connected") {
      window.clearTimeout(this._timer);
      if (this.peer && this.peer !== this._shown) this._handlers.onStream(this.peer.stream);
      this._shown = this.peer;
      if (this.phase.name === "connecting") this._enter({ name: "live", attempt: this._attempt });
      this._isMending = false;
      this._handlers.onNotice("", "unstable");
      this._handlers.onGap(false);
      this._attempt = this._mends = 0;
      this._everLive = true;
    } else if (state === "disconnected" && this.phase.name === "live" && !this._isMending) {
      this._handlers.onNotice(WORDS.unstable, "unstable");
      this._within(GAP_MS, () => this._mend());
    } else if (state === "failed") {
      if (this.phase.name === "live") this._mend(this._isMending ? this._why() : "");
      else this._lost(this._why());
    }
  }

  /**
   * Connects sound and picture anew in the running session. It begins with a fresh config, because the credentials of
   * TURN servers last a while only.
   * @param {string} [words]  Why the last attempt failed, if there was one.
   */
  _mend(words = "") {
    this._isMending = true;
    this._mends += 1;
    if (this._mends > MAX_MENDS || !this._send("config")) return this._lost(words);
    this._handlers.onNotice(words || WORDS.mending, "unstable");
    this._handlers.onGap(true);
    // Nothing answers: the socket is dead as well, and nobody has noticed yet.
    this._within(CONNECT_MS, () => this._lost());
  }

  /** Why there is no sound and no picture, as far as this browser knows. */
  _why() {
    return this.peer ? mediaWords(this.peer.relay()) : "";
  }

  /** @param {number} ms @param {() => void} act  Instead of whatever was waited for before. */
  _within(ms, act) {
    window.clearTimeout(this._timer);
    this._timer = window.setTimeout(act, ms);
  }

  /**
   * A session without a description cannot go on; anything else can.
   * @param {ServerMessage} message
   * @param {unknown} error
   */
  _unread(message, error) {
    console.error(`could not follow "${message.type}":`, error);
    if (message.type === "config" || message.type === "answer") this._lost();
  }

  /** @param {string} [words]  Why, where it is known. */
  _lost(words = "") {
    if (this.phase.name === "over") return;
    const refused = this._error && !this.peer ? this._error : "";
    // Others may have taken the places meanwhile; one of them will be free again.
    if (refused && !(this._isFull && this._everLive)) return this.end(refused, true);
    if (!this._everLive) return this.end(words || WORDS.unreachable, true);
    this._drop();
    this._attempt += 1;
    if (this._attempt > MAX_ATTEMPTS) return this.end(WORDS.gaveUp, true);
    // Doubling, at most 15 s, and spread so that many pages do not come back in the same moment.
    const delayS = Math.min(15, 2 ** (this._attempt - 1)) * (0.8 + 0.4 * Math.random());
    this._enter({ name: "waiting", attempt: this._attempt, delayS, words: words || refused });
    this._within(delayS * 1000, () => this.start());
  }

  _drop() {
    window.clearTimeout(this._timer);
    this.signaling?.close();
    this.peer?.close();
    this.signaling = undefined;
    this.peer = this._shown = undefined;
  }

  /** @param {Phase} phase */
  _enter(phase) {
    this.phase = phase;
    this._handlers.onPhase(phase);
  }
}
