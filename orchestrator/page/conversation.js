/**
 * One conversation as a person sees it: it outlives a lost connection by opening a new session, because a session of
 * the server ends with its socket.
 */

import { Peer } from "./peer.js";
import { sessionUrl, Signaling } from "./signaling.js";
import { WORDS } from "./words.js";

/** @typedef {import("./signaling.js").SessionOptions} SessionOptions */
/** @typedef {import("./types.js").ServerMessage} ServerMessage */
/** @typedef {import("./types.js").ConversationEvent} ConversationEvent */

/**
 * connecting, live, waiting (lost; the next attempt comes in `delayS`), over (with a sentence that says why).
 * @typedef {{name: "connecting", attempt: number} | {name: "live", attempt: number} |
 *   {name: "waiting", attempt: number, delayS: number} |
 *   {name: "over", words: string, failed: boolean}} Phase
 *
 * onAvatar tells which face is shown: a new one, or the old one where another was refused.
 *
 * @typedef {{onPhase: (phase: Phase) => void, onStream: (stream: MediaStream) => void,
 *   onEvent: (event: ConversationEvent) => void, onAvatar: (name: string, isNew: boolean) => void,
 *   onNotice: (words: string, key: string) => void}} Handlers
 */

const MAX_ATTEMPTS = 12;
/** From the socket's opening to sound and picture; more than a slow TURN server needs. */
const CONNECT_MS = 20_000;

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
    this._enter({ name: "connecting", attempt: this._attempt });
    const signaling = new Signaling(sessionUrl(this.options), {
      onMessage: (message) => void this._message(message).catch((error) => this._broken(message, error)),
      onClose: () => this._lost(),
    });
    this.signaling = signaling;
    signaling.socket.addEventListener("open", () => {
      if (this.signaling !== signaling) return;
      this._timer = window.setTimeout(() => this._lost(WORDS.noMedia), CONNECT_MS);
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
        this._error = /server full/i.test(message.error) ? WORDS.full : message.error;
        if (this.peer) this._handlers.onNotice(this._error, "server");
        // The error may be about something else, but then the switch is still to come and is told when it does.
        if (this._wanted) this._handlers.onAvatar(this.options.avatar ?? "", false);
        this._wanted = "";
        return;
      case "event":
        this._handlers.onEvent(message.data);
        if (message.data.ended) this.end(message.data.ended.reason || WORDS.ended);
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
    this.peer = peer;
    await peer.offer();
  }

  /** @param {RTCPeerConnectionState} state */
  _connection(state) {
    if (state === "connected") {
      window.clearTimeout(this._timer);
      if (this.phase.name === "connecting") {
        this._handlers.onStream(/** @type {Peer} */ (this.peer).stream);
        this._enter({ name: "live", attempt: this._attempt });
      }
      this._handlers.onNotice("", "unstable");
      this._attempt = 0;
      this._everLive = true;
    } else if (state === "disconnected") {
      this._handlers.onNotice(WORDS.unstable, "unstable");
    } else if (state === "failed") {
      this._lost(this.phase.name === "live" ? "" : WORDS.noMedia);
    }
  }

  /**
   * A session without a description cannot go on; anything else can.
   * @param {ServerMessage} message
   * @param {unknown} error
   */
  _broken(message, error) {
    console.error(`could not follow "${message.type}":`, error);
    if (message.type === "config" || message.type === "answer") this._lost();
  }

  /** @param {string} [words]  Why, where it is known. */
  _lost(words = "") {
    if (this.phase.name === "over") return;
    const refused = this._error && !this.peer ? this._error : "";
    if (refused) return this.end(refused, true);
    if (!this._everLive) return this.end(words || WORDS.unreachable, true);
    this._drop();
    this._attempt += 1;
    if (this._attempt > MAX_ATTEMPTS) return this.end(WORDS.gaveUp, true);
    // Doubling, at most 15 s, and spread so that many pages do not come back in the same moment.
    const delayS = Math.min(15, 2 ** (this._attempt - 1)) * (0.8 + 0.4 * Math.random());
    this._enter({ name: "waiting", attempt: this._attempt, delayS });
    this._timer = window.setTimeout(() => this.start(), delayS * 1000);
  }

  _drop() {
    window.clearTimeout(this._timer);
    this.signaling?.close();
    this.peer?.close();
    this.signaling = undefined;
    this.peer = undefined;
  }

  /** @param {Phase} phase */
  _enter(phase) {
    this.phase = phase;
    this._handlers.onPhase(phase);
  }
}
