/** The WebSocket of one conversation: JSON messages in and out. */

/** @typedef {import("./types.js").ServerMessage} ServerMessage */

/** The server pings every 30 s; after two and a half of them it is gone, whatever TCP says. */
const SILENCE_MS = 75_000;

/** @typedef {{avatar?: string, voice?: string, language?: string, reply?: string}} SessionOptions */

/**
 * The address of a new conversation on the page's own origin.
 * @param {SessionOptions} options  Empty ones are left to the server.
 */
export function sessionUrl(options) {
  const url = new URL("/session", location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  for (const [name, value] of Object.entries(options)) if (value) url.searchParams.set(name, value);
  return url.href;
}

export class Signaling {
  /**
   * @param {string} url
   * @param {{onMessage: (message: ServerMessage) => void, onClose: () => void}} handlers  onClose is called once, and
   *   not after close().
   */
  constructor(url, handlers) {
    this.socket = new WebSocket(url);
    this._handlers = handlers;
    this._closed = false;
    this._silence = 0;
    this.socket.addEventListener("message", (event) => this._receive(event.data));
    this.socket.addEventListener("close", () => this._lost());
    this._heard();
  }

  /**
   * Sends a message; one that comes before the socket opens or after it closed is dropped, and says so.
   * @param {string} type
   * @param {object} [data]
   * @returns {boolean} whether it was sent
   */
  send(type, data) {
    if (this.socket.readyState !== WebSocket.OPEN) return false;
    this.socket.send(JSON.stringify(data === undefined ? { type } : { type, data }));
    return true;
  }

  close() {
    this._closed = true;
    window.clearTimeout(this._silence);
    this.socket.close(1000);
  }

  /** @param {unknown} text */
  _receive(text) {
    if (this._closed || typeof text !== "string") return;
    this._heard();
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      return console.warn("the server sent a message that is not JSON");
    }
    if (message.type === "ping") this.send("pong");
    else this._handlers.onMessage(message);
  }

  _heard() {
    window.clearTimeout(this._silence);
    this._silence = window.setTimeout(() => this._lost(), SILENCE_MS);
  }

  _lost() {
    if (this._closed) return;
    this.close();
    this._handlers.onClose();
  }
}
